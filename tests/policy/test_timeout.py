"""Timeout: who is named when time runs out, what wins in a tie, and waits that are not worth beginning."""

import asyncio
import gc
import time
from typing import Any

import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Err,
    Ok,
    Retry,
    Timeout,
    _native,
    blocking,
    constant,
    deadline,
    effect,
    exponential,
)
from mountain_runtime.errors import MountainError, TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Stop, Watch, forever


async def test_it_names_the_effect_the_policy_and_the_attempt() -> None:
    @effect(Timeout(LONG), Retry(on=Boom, attempts=3, backoff=constant(0)), Timeout(SOON), name="fetch")
    async def fails_once_then_hangs(log: list[int]) -> None:
        log.append(1)
        if len(log) == 1:
            raise Boom("first")
        await forever()

    log: list[int] = []
    with pytest.raises(TimedOut) as ended:
        await fails_once_then_hangs(log)
    assert len(log) == 3
    error = ended.value
    assert (error.effect, error.policy, error.attempt) == ("fetch", f"Timeout({SOON})", 3)
    assert "fetch" in str(error)
    assert f"Timeout({SOON})" in str(error)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, OSError)
    assert isinstance(error, MountainError)


async def test_the_total_is_told_from_the_attempt_and_has_the_last_failure_as_its_cause() -> None:
    first = Boom("first")

    @effect(Timeout(SOON), Retry(on=Boom, attempts=None, backoff=constant(0)), Timeout(LONG))
    async def fails_once_then_hangs(log: list[int]) -> None:
        log.append(1)
        if len(log) == 1:
            raise first
        await forever()

    with pytest.raises(TimedOut) as ended:
        await fails_once_then_hangs([])
    assert ended.value.policy == f"Timeout({SOON})"
    assert ended.value.attempt == 2
    assert ended.value.__cause__ is first


async def test_a_wait_that_would_outlast_the_limit_is_not_slept() -> None:
    """T5, at a tenth of its times: the waits 0.1, 0.2, 0.4 under a limit of 0.5 end at 0.3."""
    last = Boom("last")
    calls = Calls(Boom, Boom, last)
    backoff = exponential(0.1, jitter="none")
    with Watch() as watch, pytest.raises(Boom) as ended:
        await effect(Timeout(0.5), Retry(on=Boom, attempts=None, backoff=backoff))(calls)()
    assert calls.count == 3
    assert 0.3 <= watch.took < 0.49
    assert ended.value is last


async def test_an_inherited_deadline_counts_as_well() -> None:
    calls = Calls(Boom)
    with Watch() as watch, pytest.raises(Boom):
        async with deadline(LONG / 2):
            await effect(Retry(on=Boom, backoff=constant(LONG)))(calls)()
    assert calls.count == 1
    assert watch.took < AT_ONCE


async def test_a_child_never_outlives_the_limit_of_its_parent() -> None:
    @effect(Timeout(LONG))
    async def child() -> None:
        await _native.trial_sleep(LONG)

    @effect(Timeout(SOON), name="parent")
    async def parent() -> None:
        await child()

    with Watch() as watch, pytest.raises(TimedOut):
        await parent()
    assert watch.took < AT_ONCE


async def test_what_a_late_leaf_says_wins() -> None:
    """A value, and what is no Exception, win over the limit; a late failure becomes its cause."""

    @effect(Timeout(SOON))
    async def answers(late: Any) -> Any:
        try:
            await forever()
        except asyncio.CancelledError:
            if isinstance(late, BaseException):
                raise late from None
            return late

    assert await answers("late") == "late"
    with pytest.raises(Stop):
        await answers(Stop())
    boom = Boom("late")
    with pytest.raises(TimedOut) as ended:
        await answers(boom)
    assert ended.value.__cause__ is boom


async def test_attempt_sees_it_as_the_oserror_that_it_is() -> None:
    slow = effect(Timeout(SOON))(forever)
    for named in (OSError, TimeoutError, TimedOut):
        match await slow().attempt(named):
            case Err(error=TimedOut()):
                pass
            case other:
                pytest.fail(f"{named}: {other}")
    assert await effect(Timeout(LONG))(asyncio.sleep)(0, 3).attempt(OSError) == Ok(3)
    with pytest.raises(TimedOut):
        await slow().attempt(FileNotFoundError)


async def test_a_shared_value_serves_many_calls_at_once() -> None:
    """Each call has its own limit, counted from its own beginning."""
    limit = Timeout(SOON)
    slow, quick = effect(limit)(forever), effect(limit)(asyncio.sleep)
    found = await asyncio.gather(
        *[slow() for _ in range(50)], *[quick(0, n) for n in range(50)], return_exceptions=True
    )
    assert [type(error) for error in found[:50]] == [TimedOut] * 50
    assert found[50:] == list(range(50))


# -- T11: errors after the time ------------------------------------------------------------------------------


def ends(name: str) -> dict[str, int]:
    keys = ("started", "succeeded", "failed", "timed_out", "cancelled", "retried", "rejected")
    return {key: int(count) for key, count in zip(keys, _native.effect_statistics()[name], strict=False) if count}


async def test_a_late_error_is_counted_once_and_reported_to_nobody_else(complaints: list[Any]) -> None:
    """T11, for a coroutine."""

    @effect(Timeout(SOON), name="t11-coroutine")
    async def fails_late() -> None:
        try:
            await forever()
        finally:
            raise Boom("late")

    before = ends("t11-coroutine")
    with pytest.raises(TimedOut):
        await fails_late()
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
    gained = {key: count - before.get(key, 0) for key, count in ends("t11-coroutine").items()}
    assert {key: n for key, n in gained.items() if n} == {"started": 1, "timed_out": 1}


async def test_a_late_error_on_a_thread_is_reported_to_nobody_else(complaints: list[Any]) -> None:
    """T11, for a thread, which goes on after its caller was released."""
    failed: list[bool] = []

    # Long enough that it begins on a busy machine, too.
    @blocking(Timeout(SOON * 10), name="t11-thread")
    def fails_late() -> None:
        time.sleep(SOON * 20)  # a thread cannot be stopped: it has to be late
        failed.append(True)
        raise Boom("late")

    before = ends("t11-thread")
    with pytest.raises(TimedOut):
        await fails_late()
    assert not failed
    while _native.statistics()["abandoned_threads"]:
        await asyncio.sleep(0.005)  # the thread is on its own: there is nothing to wait on
    assert failed
    gc.collect()
    assert complaints == []
    gained = {key: count - before.get(key, 0) for key, count in ends("t11-thread").items()}
    assert {key: n for key, n in gained.items() if n} == {"started": 1, "timed_out": 1}


async def test_a_native_error_after_a_cancelled_wait_is_reported_to_nobody(complaints: list[Any]) -> None:
    """T11, for a native effect whose caller goes in the moment in which it fails."""
    for _ in range(50):
        task = asyncio.create_task(_native.trial_fail(2))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(task.exception(), FileNotFoundError)
    gc.collect()
    assert complaints == []


async def test_what_a_key_takes_is_not_of_the_limit() -> None:
    def slow(_: int) -> int:
        time.sleep(2 * SOON)  # real: it holds the thread, during which no clock of a test can be moved
        return 1

    @effect(Timeout(SOON), ConcurrencyLimit(1, key=slow))
    async def yields(n: int) -> int:
        await asyncio.sleep(0)
        return n

    assert await yields(7) == 7
