"""Durations at the edges of what numbers can say: no limit, at once, and waits that never overflow."""

import asyncio
import math
import sys
from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import Retry, Timeout, _native, constant, deadline, effect, exponential
from mountain_runtime.errors import TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Watch, forever, suspends

ENDLESS: list[Any] = [1e12, math.inf, sys.float_info.max, 10**400, timedelta.max, 1 << 63]


@pytest.mark.parametrize("seconds", ENDLESS, ids=str)
async def test_a_huge_limit_is_none(seconds: Any) -> None:
    """T4."""
    assert await effect(Timeout(seconds))(suspends)(5) == 5
    assert await _native.trial_noop(6).under(Timeout(seconds)) == 6
    await _native.trial_sleep(0.001).under(Timeout(seconds))  # long enough that its limit has to be armed
    async with deadline(seconds):
        assert await effect(suspends)(7) == 7


@pytest.mark.parametrize("seconds", ENDLESS, ids=str)
async def test_a_huge_wait_can_still_be_cut_short(seconds: Any) -> None:
    """T4: nothing overflows on the way to the limit around it: the wait does not fit, which is found at once."""
    calls = Calls(Boom)
    with Watch() as watch, pytest.raises(Boom):
        await effect(Timeout(LONG), Retry(on=Boom, backoff=constant(seconds)))(calls)()
    assert watch.took < AT_ONCE
    assert calls.count == 1


async def test_zero_gives_one_poll_and_a_value_wins() -> None:
    """T4: `Timeout(0)`."""

    async def at_once() -> str:
        return "value"

    assert await effect(Timeout(0))(at_once)() == "value"
    assert await effect(Timeout(-0.0))(at_once)() == "value"
    assert (
        await _native.trial_noop(7).under(Timeout(0)) == 7
    )  # it ends as it begins: its value is there at the first poll
    with pytest.raises(TimedOut):
        await _native.trial_sleep(LONG).under(Timeout(0))
    with pytest.raises(Boom):
        await effect(Timeout(timedelta(0)))(Calls(Boom))()


async def test_zero_ends_what_would_wait() -> None:
    with Watch() as watch:
        with pytest.raises(TimedOut) as ended:
            await effect(Timeout(0), name="waits")(forever)()
        with pytest.raises(TimedOut):
            await _native.trial_sleep(LONG).under(Timeout(0))
    assert watch.took < AT_ONCE
    assert (ended.value.effect, ended.value.policy, ended.value.attempt) == ("waits", "Timeout(0)", 1)


async def test_a_deadline_that_has_passed_starts_nothing() -> None:
    calls = Calls(then_value=True)
    with pytest.raises(TimedOut):
        async with deadline(0):
            await effect(calls)()
    assert calls.count == 0
    with pytest.raises(TimedOut):
        async with deadline(0):
            await _native.trial_fail(5)  # would be an OSError, had it started


async def test_waits_of_zero_are_not_slept() -> None:
    calls = Calls(Boom)
    with Watch() as watch, pytest.raises(Boom):
        await effect(Retry(on=Boom, attempts=2000, backoff=constant(0)))(calls)()
    assert calls.count == 2000
    assert watch.took < AT_ONCE


@pytest.mark.parametrize("attempts", [2**32, 2**63, 10**400], ids=["2**32", "2**63", "10**400"])
async def test_a_huge_number_of_attempts_is_no_limit(attempts: int) -> None:
    calls = Calls(Boom, Boom, then_value=True)
    assert await effect(Retry(on=Boom, attempts=attempts, backoff=constant(0)))(calls)() == 3


# -- T3 ------------------------------------------------------------------------------------------------------
# `on` sends the first attempts on at once, and hands the one that is asked about to the backoff. Attempt 1e9 is asked
# about in Rust, of the function that decides: to get there from here would take a minute.


def backs_off_at(attempt: int) -> Any:
    seen = 0

    def on(_: Exception) -> bool | float:
        nonlocal seen
        seen += 1
        return seen == attempt or 0.0

    return on


@pytest.mark.parametrize("attempt", [1, 64, 1024, 10_000])
async def test_a_late_attempt_waits_no_longer_than_the_cap(attempt: int) -> None:
    """T3: powers of the factor are long infinite by then."""
    calls = Calls(*[Boom] * attempt, then_value=True)
    backoff = exponential(SOON, factor=10, max=SOON, jitter="none")
    with Watch() as watch:
        found = await effect(Timeout(LONG), Retry(on=backs_off_at(attempt), attempts=None, backoff=backoff))(calls)()
    assert found == attempt + 1
    assert SOON <= watch.took < AT_ONCE


@pytest.mark.parametrize("attempt", [1024, 10_000])
@pytest.mark.parametrize("cap", [60, 1e7, math.inf])
async def test_a_cap_far_above_is_honoured(attempt: int, cap: float) -> None:
    """T3: the wait is the cap, which is too long for a limit that is only a little shorter, and for no longer one."""
    retry = Retry(on=backs_off_at(attempt), attempts=None, backoff=exponential(1, max=cap, jitter="none"))
    calls = Calls(Boom)
    with pytest.raises(Boom):
        await effect(Timeout(min(cap, 1e9) - 1), retry)(calls)()
    assert calls.count == attempt

    retry = Retry(on=backs_off_at(attempt), attempts=None, backoff=exponential(1, max=cap, jitter="none"))
    waiting = asyncio.create_task(effect(Timeout(cap + 10), retry)(Calls(Boom))())
    assert await asyncio.wait([waiting], timeout=SOON) == (set(), {waiting})
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("jitter", ["full", "equal", "none"])
async def test_jitter_stays_within_its_wait(jitter: Any) -> None:
    calls = Calls(Boom, Boom, Boom, then_value=True)
    with Watch() as watch:
        await effect(Retry(on=Boom, attempts=4, backoff=exponential(0.02, factor=1, max=1, jitter=jitter)))(calls)()
    least = {"full": 0.0, "equal": 0.03, "none": 0.06}[jitter]
    assert least <= watch.took < 0.06 + AT_ONCE
