"""deadline(): a limit that everything below it inherits, in tasks and in native work too."""

import asyncio
import time
from datetime import timedelta

import pytest

from mountain_runtime import Retry, Timeout, constant, deadline, effect, gather
from mountain_runtime._native import current_deadline
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import ConfigError, TimedOut

from .support import LONG, SOON, Boom, cancelling, forever, value


async def test_it_raises_timed_out() -> None:
    with pytest.raises(TimedOut):
        async with deadline(SOON):
            await forever()
    assert cancelling() == 0


async def test_a_cancel_that_was_taken_back_before_it_arrived_is_none() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.uncancel()
    with pytest.raises(TimedOut):
        async with deadline(0):
            await forever()
    assert cancelling() == 0


async def test_within_it_nothing_happens() -> None:
    async with deadline(LONG):
        assert await effect(value)(1) == 1
        assert await noop(2) == 2
    async with deadline(timedelta(days=1)):
        pass
    async with deadline(float("inf")):
        assert await noop(2) == 2


@pytest.mark.parametrize("bad", [-1, float("nan"), timedelta(seconds=-1)])
async def test_numbers_that_cannot_be(bad: float) -> None:
    with pytest.raises(ConfigError):
        async with deadline(bad):
            pass


async def test_what_has_passed_starts_nothing() -> None:
    """An inherited deadline that is over: TimedOut, and the leaf never ran."""
    ran: list[int] = []

    @effect
    async def leaf() -> None:
        ran.append(1)

    with pytest.raises(TimedOut):
        async with deadline(0):
            time.sleep(0.001)  # the clock must have moved
            try:
                await leaf()
            finally:
                with pytest.raises(TimedOut):
                    await noop()
    assert ran == []


async def test_native_work_and_tasks_of_their_own_inherit_it() -> None:
    began = time.perf_counter()
    with pytest.raises(TimedOut):
        async with deadline(SOON):
            await sleep(LONG)
    results = None

    async def child() -> None:
        await effect(forever)()

    with pytest.raises(TimedOut):
        async with deadline(SOON):
            tasks = [asyncio.create_task(child()), asyncio.create_task(sleep(LONG))]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await forever()
    if results is not None:
        assert all(isinstance(r, TimedOut) for r in results)
    assert time.perf_counter() - began < LONG / 2
    assert cancelling() == 0


async def test_a_child_never_outlives_its_parent() -> None:
    with pytest.raises(TimedOut):
        async with deadline(SOON):
            async with deadline(LONG):
                await effect(Timeout(LONG), Retry(on=Boom))(forever)()
    assert current_deadline() is None


async def test_a_timeout_is_a_deadline_of_what_it_awaits() -> None:
    left: list[float] = []

    @effect(Timeout(10))
    async def outer() -> None:
        limit = current_deadline()
        assert limit is not None
        left.append(limit.remaining())
        await asyncio.sleep(0)
        limit = current_deadline()
        assert limit is not None
        left.append(limit.remaining())
        await inner()

    @effect(Timeout(100))
    async def inner() -> None:
        limit = current_deadline()
        assert limit is not None
        left.append(limit.remaining())

    await outer()
    assert all(9 < each <= 10 for each in left)
    assert current_deadline() is None


async def test_a_sleep_that_ends_after_it_is_not_slept() -> None:
    began = time.perf_counter()

    @effect(Retry(on=Boom, backoff=constant(LONG)))
    async def leaf() -> None:
        raise Boom

    with pytest.raises(Boom):
        async with deadline(LONG / 2):
            await leaf()
    assert time.perf_counter() - began < LONG / 4


async def test_gathered_children_stand_under_it() -> None:
    with pytest.raises(TimedOut):
        async with deadline(SOON):
            await gather([effect(forever)(), sleep(LONG)])
    with pytest.raises(TimedOut):
        await gather([sleep(LONG), sleep(LONG)]).under(Timeout(SOON))


async def test_the_callers_cancel_is_no_timeout() -> None:
    async def body() -> None:
        async with deadline(LONG):
            await forever()

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel("out")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("out",)


async def test_nested_deadlines_at_the_same_time() -> None:
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.003):
                async with deadline(0.003):
                    await effect(Timeout(0.003))(forever)()
        assert cancelling() == 0


async def test_it_does_not_leak_into_what_comes_after() -> None:
    async with deadline(SOON):
        pass
    await asyncio.sleep(SOON * 1.5)  # its time passes
    assert await effect(value)(1) == 1
    assert await noop(1) == 1
