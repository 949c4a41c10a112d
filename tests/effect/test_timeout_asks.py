"""A timeout asks the leaf to stop and waits for it: what the leaf says in the end is what counts."""

import asyncio
import time

import pytest

from mountain_runtime import Retry, Timeout, constant, effect
from mountain_runtime._native import effect_statistics
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, Stop, cancelling, collect, forever


async def test_nothing_happens_within_the_limit() -> None:
    assert await effect(Timeout(LONG))(asyncio.sleep)(0, "done") == "done"
    assert cancelling() == 0


async def test_too_long_is_timed_out_and_says_who_and_what() -> None:
    @effect(Timeout(SOON))
    async def slow() -> None:
        await forever()

    with pytest.raises(TimedOut) as caught:
        await slow()
    assert caught.value.effect.endswith("slow")
    assert caught.value.policy == f"Timeout({SOON})"
    assert caught.value.attempt == 1
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, TimeoutError)
    assert cancelling() == 0


async def test_cleanup_is_awaited_though_it_overruns_the_limit() -> None:
    """T10, for a timeout."""
    log: list[str] = []

    @effect(Timeout(SOON))
    async def careful() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(SOON)  # a cleanup that takes its time
            log.append("cleaned")

    with pytest.raises(TimedOut):
        await careful()
    assert log == ["cleaned"]


async def test_cancelled_cleanup_ends_before_the_await_does() -> None:
    """T10: one cancel, a long cleanup."""
    log: list[str] = []

    @effect(Timeout(LONG), Retry(on=Boom, attempts=3))
    async def careful() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.3)  # the case's own figure
            log.append("cleaned")

    async def caller() -> None:
        try:
            await careful()
        finally:
            log.append("caller")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned", "caller"]


async def test_a_value_that_comes_all_the_same_wins() -> None:
    runs = 0

    @effect(Retry(on=TimedOut, attempts=3, backoff=constant(0)), Timeout(SOON))
    async def finishes() -> str:
        nonlocal runs
        runs += 1
        try:
            await forever()
        except asyncio.CancelledError:
            pass
        return "written"

    assert await finishes() == "written"
    assert runs == 1
    assert cancelling() == 0


async def test_a_leaf_that_goes_on_is_asked_once_and_kept() -> None:
    asked = 0

    @effect(Timeout(SOON))
    async def stubborn() -> str:
        nonlocal asked
        for _ in range(5):
            try:
                await asyncio.sleep(SOON)  # longer than the limit in all
            except asyncio.CancelledError:
                asked += 1
        return "end"

    assert await stubborn() == "end"
    assert asked == 1
    assert cancelling() == 0


async def test_a_late_exception_is_the_cause() -> None:
    @effect(Timeout(SOON))
    async def breaks() -> None:
        try:
            await forever()
        finally:
            raise Boom("late")

    with pytest.raises(TimedOut) as caught:
        await breaks()
    assert isinstance(caught.value.__cause__, Boom)
    assert cancelling() == 0


async def test_a_late_failure_is_counted_once_and_makes_no_noise(loop_complaints: list[str]) -> None:
    """T11"""

    @effect(Timeout(SOON), name="late failure")
    async def breaks() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            raise Boom("late")

    collect()  # leftovers of earlier tests make their noise now
    loop_complaints.clear()
    before = effect_statistics().get("late failure", (0,) * 9)
    task = asyncio.create_task(breaks())
    await asyncio.wait([task])
    assert isinstance(task.exception(), TimedOut)
    del task
    collect()
    after = effect_statistics()["late failure"]
    started, succeeded, failed, timed_out = (now - then for now, then in zip(after[:4], before[:4], strict=True))
    assert (started, succeeded, failed, timed_out) == (1, 0, 0, 1)
    assert loop_complaints == []


async def test_the_error_of_a_task_group_that_was_stopped_is_the_cause() -> None:
    async def child() -> None:
        try:
            await forever()
        finally:
            raise Boom("real")

    @effect(Timeout(SOON))
    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    with pytest.raises(TimedOut) as caught:
        await parent()
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.subgroup(Boom) is not None
    assert cancelling() == 0


async def test_what_is_no_exception_wins_over_the_timeout() -> None:
    runs = 0

    @effect(Timeout(LONG), Retry(on=Exception, attempts=3, backoff=constant(0)), Timeout(SOON))
    async def stops() -> None:
        nonlocal runs
        runs += 1
        try:
            await forever()
        finally:
            raise Stop

    with pytest.raises(Stop):
        await stops()
    assert runs == 1
    assert cancelling() == 0


async def test_the_last_failure_is_the_cause_of_the_outer_timeout() -> None:
    @effect(Timeout(0.05), Retry(on=Boom, attempts=None, backoff=constant(0)))
    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise Boom

    with pytest.raises(TimedOut) as caught:
        await fails()
    assert isinstance(caught.value.__cause__, Boom)
    assert caught.value.attempt >= 2


async def test_a_loop_of_ready_steps_is_stopped_too() -> None:
    """A leaf that always has something to do at once still lets the timer be seen."""

    @effect(Timeout(SOON))
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    begin = time.perf_counter()
    with pytest.raises(TimedOut):
        await spins()
    assert time.perf_counter() - begin < SOON * 25


async def test_a_leaf_that_never_waits_is_not_timed() -> None:
    """A coroutine that returns at once arms no timer: even a limit of nothing takes its value."""

    @effect(Timeout(0))
    async def at_once() -> int:
        return 7

    assert await at_once() == 7


async def test_a_limit_of_nothing_stops_what_waits() -> None:
    @effect(Timeout(0))
    async def waits() -> None:
        await forever()

    with pytest.raises(TimedOut):
        await waits()
    assert cancelling() == 0


async def test_shielded_work_outlives_the_limit() -> None:
    inner = asyncio.get_running_loop().create_future()

    @effect(Timeout(SOON))
    async def shields() -> object:
        return await asyncio.shield(inner)

    with pytest.raises(TimedOut):
        await shields()
    assert not inner.cancelled()
    inner.cancel()


async def test_it_is_timed_anew_each_attempt() -> None:
    tries = 0

    @effect(Retry(on=Boom, attempts=3, backoff=constant(0)), Timeout(SOON))
    async def third() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            await forever()
        return tries

    assert await third() == 3
    assert cancelling() == 0
