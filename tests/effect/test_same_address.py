"""Tasks and effects are known by themselves, not by their addresses: another one that comes to have that is another."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from mountain_runtime import Cache, Effect, Retry, Timeout, constant, deadline, effect
from mountain_runtime._native import trial_sleep
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, SOON, Boom, forever

#: So many tasks are made until one is where another was; mostly it is the first.
TRIES = 2000


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Away from the collector, whose runs move what is free."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def there(address: int, works: list[Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any] | None":
    """A task of that address, if it is still free, for one of `works`, which were there before and cannot take it."""
    others: list[asyncio.Task[Any]] = []
    try:
        while works:
            task = asyncio.create_task(works.pop())
            if id(task) == address:
                return task
            others.append(task)
        return None
    finally:
        for work in works:
            work.close()
        for other in others:
            other.cancel()


async def begun_under_a_limit(make: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Does `make`'s work beneath a limit whose task is gone, in a task of that one's address; False: there was none."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def waits() -> bool:
        works = [make() for _ in range(TRIES)]
        task = there(await told, works)
        if task is not None:
            await task
        return task is not None

    async def sets_it() -> "asyncio.Task[bool]":
        async with deadline(SOON):
            return asyncio.create_task(waits())

    setter = asyncio.create_task(sets_it())
    begun = await setter
    address = id(setter)
    del setter
    told.set_result(address)
    return await begun


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("ends", [effect(forever), effect(Timeout(LONG))(forever), partial(trial_sleep, LONG)])
async def test_a_limit_holds_where_its_task_was(ends: Callable[[], Effect[Any]], virtual_clock: VirtualClock) -> None:
    async def is_ended() -> None:
        with pytest.raises(TimedOut):
            async with asyncio.timeout(LONG):
                await ends()

    for _ in range(10):  # something else may be put where the task was
        if await begun_under_a_limit(is_ended):
            return
    raise AssertionError("no task came to have the address")


@pytest.mark.parametrize("make", [effect(asyncio.sleep), effect(Timeout(LONG))(asyncio.sleep)])
async def test_an_effect_is_not_driven_on_by_a_later_task(make: Callable[[float], Effect[Any]]) -> None:
    work = make(0)

    async def begins() -> None:
        work.send(None)

    async def goes_on() -> None:
        with pytest.raises(RuntimeError, match="driven by another task"):
            work.send(None)

    await asyncio.create_task(begins())
    for _ in range(TRIES // 10):  # each is where the one before it was
        await asyncio.create_task(goes_on())
    work.close()


async def test_a_timeout_is_not_that_of_a_later_effect() -> None:
    """The failure of a cached run is known by the policies of its own effect."""
    calls = 0

    async def first() -> TimedOut:
        with pytest.raises(TimedOut) as ended:
            await effect(Cache(ttl=LONG), Timeout(0))(forever)()
        return ended.value

    def retried() -> Any:
        return effect(Retry(on=Boom, attempts=2, backoff=constant(0)), Cache(ttl=LONG), Timeout(LONG))

    async def raises(error: TimedOut) -> None:
        nonlocal calls
        calls += 1
        raise error

    for _ in range(TRIES // 100):
        error = (await first()).with_traceback(None)
        for make in [retried() for _ in range(5)]:  # one of them is where the first one was
            calls = 0
            with pytest.raises(TimedOut):
                await make(raises)(error)
            assert calls == 1
        del error
