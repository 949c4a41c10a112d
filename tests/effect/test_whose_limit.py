"""TimedOut of an effect names the limit that was up, also when another effect or a block around it set that."""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Effect, Retry, Runtime, Timeout, constant, deadline, effect
from mountain_runtime._effect.children import start
from mountain_runtime._native import current_deadline, trial_noop, trial_sleep
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, collect, forever, ticks, value

#: Effects that are not begun any more when their time is up, inline and native.
MAKERS: list[Callable[[], Effect[Any]]] = [
    effect(name="inner")(value),
    effect(Timeout(LONG), name="inner")(value),
    lambda: trial_noop(1),
    lambda: trial_noop(1).under(Retry(on=OSError)),
    lambda: trial_noop(1).under(Retry(on=Boom)),
]


def pass_time(seconds: float) -> None:
    """Real: what is begun when a limit has passed, before the loop has found that out."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def patiently(work: Callable[[], Awaitable[TimedOut]]) -> TimedOut:
    """The outcome of `late` under a limit. On a busy machine that may pass before it begins, which is no finding."""
    for _ in range(100):
        try:
            return await work()
        except TimedOut:
            continue
    raise AssertionError("it was never begun in time")


async def late(make: Callable[[], Effect[Any]], suspended: bool) -> TimedOut:
    """How an effect fails that is begun too late."""
    if suspended:
        await ticks(2)
    pass_time(SOON * 2)
    with pytest.raises(TimedOut) as ended:
        await make()
    return ended.value


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("make", MAKERS)
async def test_a_policy_of_the_effect_around(make: Callable[[], Effect[Any]], suspended: bool) -> None:
    error = await patiently(lambda: effect(Timeout(LONG), Timeout(SOON), name="outer")(late)(make, suspended))
    assert error.effect in ("inner", "noop")
    assert error.policy == f"Timeout({SOON}) of effect 'outer'"
    assert str(error) == f"effect '{error.effect}' was not started: {error.policy} had passed already"


@pytest.mark.parametrize("make", MAKERS)
async def test_the_effect_that_set_it_and_not_those_in_between(make: Callable[[], Effect[Any]]) -> None:
    between = effect(Timeout(LONG), name="between")(late)

    @effect(Timeout(SOON), name="outer")
    async def outer() -> TimedOut:
        await ticks(2)
        return await effect(name="bare")(between)(make, True)

    assert (await patiently(outer)).policy == f"Timeout({SOON}) of effect 'outer'"


@pytest.mark.parametrize("make", MAKERS)
async def test_a_block(make: Callable[[], Effect[Any]]) -> None:
    async def tells(told: list[str | None]) -> None:
        async with deadline(SOON):
            told.append((await effect(name="between")(late)(make, False)).policy)
            await forever()

    told: list[str | None] = []
    while not told:  # on a busy machine it may not have been begun in time
        with pytest.raises(TimedOut):
            await asyncio.create_task(tells(told))
    where = tells.__qualname__
    assert told == [f"deadline({SOON}) in '{where}'"]


@pytest.mark.parametrize("make", [effect(name="inner")(forever), lambda: trial_sleep(LONG)])
async def test_a_child_that_has_left_the_block_behind(make: Callable[[], Effect[Any]]) -> None:
    """It acts on the limit by itself."""

    async def begins() -> "list[asyncio.Future[Any]]":
        async with deadline(SOON):
            return [asyncio.create_task(make()), start(make(), current_deadline())]

    where = begins.__qualname__
    for child in await asyncio.create_task(begins()):
        with pytest.raises(TimedOut) as ended:
            await child
        assert ended.value.policy == f"deadline({SOON}) in '{where}'"
        assert f"deadline({SOON}) in '{where}'" in str(ended.value)


@pytest.mark.parametrize("make", [effect(name="inner")(forever), lambda: trial_sleep(LONG)])
async def test_a_child_that_outlives_the_effect_that_began_it(make: Callable[[], Effect[Any]]) -> None:
    @effect(Timeout(SOON), name="outer")
    async def outer() -> "asyncio.Future[Any]":
        return start(make(), current_deadline())

    child = await outer()
    with pytest.raises(TimedOut) as ended:
        await child
    assert ended.value.policy == f"Timeout({SOON}) of effect 'outer'"


async def test_of_several_limits_the_earliest_is_named() -> None:
    async def caller() -> TimedOut:
        async with deadline(LONG):
            return await effect(Timeout(SOON), name="outer")(late)(MAKERS[0], True)

    assert (await patiently(caller)).policy == f"Timeout({SOON}) of effect 'outer'"

    told: list[str | None] = []

    async def tells() -> None:
        async with deadline(SOON):
            told.append((await effect(Timeout(LONG), name="outer")(late)(MAKERS[0], False)).policy)
            await forever()

    while not told:  # as above
        with pytest.raises(TimedOut):
            await asyncio.create_task(tells())
    assert told == [f"deadline({SOON}) in '{tells.__qualname__}'"]


async def test_submitted_work_knows_its_own_limits_and_not_its_callers() -> None:
    async with Runtime() as runtime:
        async with deadline(LONG):
            job = effect(Timeout(SOON), name="job")(late)
            error = await patiently(lambda: runtime.submit(job(MAKERS[0], True)))
    assert error.policy == f"Timeout({SOON}) of effect 'job'"


async def test_a_retry_that_is_woken_too_late_names_it() -> None:
    @effect(Retry(on=Boom, attempts=None, backoff=constant(SOON / 2)), name="inner")
    async def inner() -> None:
        asyncio.get_running_loop().call_soon(pass_time, SOON * 2)  # the loop is held up during the wait
        raise Boom

    async def begins() -> "asyncio.Task[None]":
        async with deadline(SOON):
            return asyncio.create_task(inner())

    cause = None
    while cause is None:  # on a busy machine it may not have been begun in time
        try:
            child = await asyncio.create_task(begins())
        except TimedOut:
            continue
        with pytest.raises((TimedOut, Boom)) as ended:
            await child
        if isinstance(ended.value, TimedOut):  # on a busy machine a wait may not have fitted
            assert ended.value.policy == f"deadline({SOON}) in '{begins.__qualname__}'"
            cause = ended.value.__cause__
    assert isinstance(cause, Boom)


async def test_a_limit_that_leads_back_to_itself_is_collected() -> None:
    class Box:
        limit: Any = None

    def make() -> tuple[Any, Box]:
        box = Box()

        def on(error: Exception) -> bool:
            return box.limit is None

        async def looks() -> None:
            box.limit = current_deadline()

        return effect(Timeout(LONG), Retry(on=on))(looks), box

    looks, box = make()
    await looks()
    assert box.limit.remaining() > 0
    gone = weakref.ref(box)
    del looks, box
    collect()
    assert gone() is None
