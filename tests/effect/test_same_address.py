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


def there(address: int, make: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
    """A task of that address, which is free."""
    others: list[asyncio.Task[Any]] = []
    try:
        for _ in range(TRIES):
            task = asyncio.create_task(make())
            if id(task) == address:
                return task
            others.append(task)
        raise AssertionError("no task came to have the address")
    finally:
        for other in others:
            other.cancel()


async def begun_under_a_limit(child: Callable[[int], Coroutine[Any, Any, Any]]) -> None:
    """`child`, beneath a limit whose task is gone; that task's address."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def waits() -> None:
        await child(await told)

    async def sets_it() -> "asyncio.Task[None]":
        async with deadline(SOON):
            return asyncio.create_task(waits())

    setter = asyncio.create_task(sets_it())
    begun = await setter
    address = id(setter)
    del setter
    told.set_result(address)
    await begun


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("ends", [effect(forever), effect(Timeout(LONG))(forever), partial(trial_sleep, LONG)])
async def test_a_limit_holds_where_its_task_was(ends: Callable[[], Effect[Any]], virtual_clock: VirtualClock) -> None:
    async def is_ended() -> None:
        with pytest.raises(TimedOut):
            async with asyncio.timeout(LONG):
                await ends()

    async def child(address: int) -> None:
        await there(address, is_ended)

    await begun_under_a_limit(child)


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
    """What a cached run fails with is known by the policies of its own effect."""
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
