"""RateLimit: what may start in a time, what a call costs, keys, and rates that change while calls wait."""

import asyncio
import time
from typing import Any

import pytest

from mountain_runtime import RateLimit, Retry, Timeout, constant, effect
from mountain_runtime.errors import MountainError, RateLimited, Rejected

from .starts import HELD_UP, Starts, most_within
from .support import AT_ONCE, LONG, Boom, Watch, outcome

#: Windows are so long that what has to happen within one does, and that five of them are soon over.
PER = 0.2


async def test_ten_at_once_and_no_window_holds_more_than_three() -> None:
    """L3."""
    starts = Starts()
    call = effect(RateLimit(3, per=PER))(starts)
    with Watch() as watch:
        await asyncio.gather(*[call() for _ in range(10)])
    assert len(starts) == 10
    assert most_within(starts, PER) == 3
    assert most_within(starts, PER / 2) == 3  # and as many as may go at once do
    assert PER * 3 - HELD_UP <= watch.took < PER * 3 + AT_ONCE


async def test_windows_are_counted_from_every_start_and_not_from_a_grid() -> None:
    """A counter that is set to 0 at the end of each period lets twice as many go around its end."""
    starts = Starts()
    call = effect(RateLimit(3, per=PER))(starts)
    await call()
    await asyncio.sleep(PER * 0.7)  # the window of the first is almost over
    await asyncio.gather(*[call() for _ in range(5)])
    assert most_within(starts, PER) == 3
    first, *_, fourth, _, sixth = sorted(starts)
    assert fourth - first >= PER - HELD_UP
    assert sixth - first >= PER * 1.7 - HELD_UP


async def test_a_bucket_has_a_figure_of_its_own() -> None:
    """Full at first, `burst + n * t / per` in any time t: in a second up to 5 more than 20."""
    starts = Starts()
    call = effect(RateLimit(20, per=1, burst=5))(starts)
    begun = time.monotonic()
    await asyncio.gather(*[call() for _ in range(13)])
    after = sorted(starts.since(begun))
    assert after[4] < 1 / 20  # the burst does not wait
    for place, at in enumerate(after[5:], 1):
        assert at >= place / 20 - HELD_UP
    assert after[12] < 8 / 20 + AT_ONCE


async def test_a_bucket_is_never_fuller_than_its_burst() -> None:
    starts = Starts()
    call = effect(RateLimit(1000, per=1, burst=2, max_wait=0))(starts)
    await asyncio.sleep(0.05)  # 50 tokens, if they were kept
    found = await asyncio.gather(*[call() for _ in range(1000)], return_exceptions=True)
    assert found[:2] == [1, 1]
    # The thousand were asked for in less than a second, so that some had to be refused.
    assert any(isinstance(each, RateLimited) for each in found)
    assert found.count(1) < 1000


async def test_a_refusal_says_who_why_and_until_when() -> None:
    @effect(RateLimit(2, per=LONG, max_wait=1), name="send")
    async def send() -> str:
        return "sent"

    assert [await send(), await send()] == ["sent", "sent"]
    with Watch() as watch, pytest.raises(RateLimited) as refused:
        await send()
    assert watch.took < AT_ONCE
    error = refused.value
    assert isinstance(error, Rejected)
    assert isinstance(error, MountainError)
    assert (error.effect, error.policy, error.attempt) == ("send", "RateLimit(2, per=30, max_wait=1)", 1)
    assert LONG - AT_ONCE < error.retry_after <= LONG
    message = str(error)
    assert "'send' was not started" in message
    assert "RateLimit(2, per=30, max_wait=1)" in message
    assert f"in {error.retry_after:.3f} s" in message


async def test_it_is_retried_only_by_name() -> None:
    """As with all that is Rejected: `Exception` does not name it. The server's own word is the limit's here."""
    starts = Starts()
    refuses = RateLimit(1, per=LONG, max_wait=0)
    await refuses.acquire()
    for on in (Exception, OSError, (Boom, Exception)):
        with pytest.raises(RateLimited) as refused:
            await effect(Retry(on=on, attempts=5, backoff=constant(0)), refuses)(starts)()
        assert refused.value.attempt == 1
    for named in (RateLimited, Rejected, (Boom, RateLimited)):
        call = effect(Retry(on=named, attempts=2, backoff=constant(0.05)), refuses)(starts)
        with Watch() as watch, pytest.raises(RateLimited):
            await call()
        assert watch.took >= 0.05
    assert not starts
    soon = RateLimit(1, per=PER, max_wait=0)
    again = effect(Retry(on=lambda e: getattr(e, "retry_after", False), attempts=2), soon)(starts)
    await soon.acquire()
    await again()
    assert len(starts) == 1


async def test_each_attempt_of_a_retry_outside_takes_a_turn_and_those_inside_share_one() -> None:
    async def fails() -> None:
        raise Boom

    again = Retry(on=Boom, attempts=3, backoff=constant(0))
    limit = RateLimit(3, per=LONG, max_wait=0)
    with pytest.raises(Boom):
        await effect(again, limit)(fails)()
    assert isinstance(await outcome(limit.acquire()), RateLimited)
    limit = RateLimit(2, per=LONG, max_wait=0)
    with pytest.raises(Boom):
        await effect(limit, again)(fails)()
    await limit.acquire()


# -- cost, charge, pause -------------------------------------------------------------------------------------


async def test_calls_weigh_what_they_cost() -> None:
    starts = Starts()
    limit = RateLimit(10, per=PER, cost=lambda cost=1: cost)
    call = effect(limit)(starts)
    with Watch() as watch:
        await asyncio.gather(*[call(cost) for cost in (4, 6, 5, 5, 10, 1)])
    assert most_within(starts, PER) == 10
    assert PER * 3 - HELD_UP <= watch.took < PER * 3 + AT_ONCE


async def test_a_cost_that_never_has_room_is_refused_and_one_of_0_never_waits() -> None:
    call = effect(RateLimit(10, per=LONG, cost=lambda cost: cost), name="heavy")(Starts())
    with pytest.raises(RateLimited, match=r"RateLimit\(10, per=30, cost=.*will never have room") as refused:
        await call(11)
    assert refused.value.retry_after == float("inf")
    assert await call(10) == 10
    assert await call(0) == 0
    with pytest.raises(RateLimited):
        async with asyncio.timeout(AT_ONCE):
            await call(1).under(Timeout(AT_ONCE))


@pytest.mark.parametrize("cost", [float("nan"), -1, float("inf"), -float("inf"), 10**400, "2", None])
async def test_a_cost_that_is_none_is_an_error_of_the_call(cost: Any) -> None:
    starts = Starts()
    limit = RateLimit(1, per=LONG, cost=lambda _: cost)
    with pytest.raises(ValueError, match=r"cost= of effect 'weigh' gave .*: it must be a finite number, 0 or more"):
        await effect(limit, name="weigh")(starts)(1)
    assert not starts
    await limit.acquire().under(Timeout(AT_ONCE))  # nothing was taken


async def test_errors_out_of_cost_and_key_are_the_calls() -> None:
    def fails(cost: int) -> int:
        raise Boom(cost)

    starts = Starts()
    for limit in (RateLimit(1, per=LONG, cost=fails), RateLimit(1, per=LONG, key=fails)):
        call = effect(limit)(starts)
        with pytest.raises(Boom):
            await call(3)
    unhashable = effect(RateLimit(1, per=LONG, key=lambda cost: [cost]))(starts)
    with pytest.raises(TypeError, match="hashable"):
        await unhashable(3)
    with pytest.raises(TypeError, match="hashable"):
        await RateLimit(1, per=LONG, key=lambda cost: cost).acquire([])  # type: ignore[arg-type]
    assert not starts


async def test_charge_corrects_what_was_counted() -> None:
    limit = RateLimit(10, per=LONG, max_wait=0)
    await limit.acquire(cost=2)
    limit.charge(7)
    await limit.acquire()
    assert isinstance(await outcome(limit.acquire()), RateLimited)
    limit.charge(-4)  # it was less than one thought
    await limit.acquire(cost=4)
    assert isinstance(await outcome(limit.acquire()), RateLimited)


async def test_a_bucket_is_charged_below_nothing() -> None:
    limit = RateLimit(10, per=1, burst=10, max_wait=0)
    limit.charge(30)
    refused = await outcome(limit.acquire())
    assert isinstance(refused, RateLimited)
    assert 2.1 - AT_ONCE < refused.retry_after <= 2.1
    limit.charge(-1000)  # and is no fuller than full
    await limit.acquire(cost=10)
    assert isinstance(await outcome(limit.acquire()), RateLimited)


async def test_who_waits_goes_when_something_is_given_back() -> None:
    limit = RateLimit(5, per=LONG)
    await limit.acquire(cost=5)
    waiting = asyncio.ensure_future(limit.acquire())
    await asyncio.sleep(0)
    assert limit._rates.waiting == 1
    limit.charge(-1)
    with Watch() as watch:
        await waiting
    assert watch.took < AT_ONCE


async def test_a_pause_holds_everybody_back() -> None:
    starts = Starts()
    limit = RateLimit(100, per=1)
    call = effect(limit)(starts)
    await call()
    begun = time.monotonic()
    limit.pause(PER)
    limit.pause(PER / 10)  # a shorter one does not cut it short
    await asyncio.gather(*[call() for _ in range(5)])
    assert min(starts.since(begun)[1:]) >= PER - HELD_UP
    limit.pause(float("inf"))
    with pytest.raises(RateLimited, match="never") as refused:
        await call()
    assert refused.value.retry_after == float("inf")


# -- max_wait ------------------------------------------------------------------------------------------------


async def test_who_would_wait_longer_than_max_wait_is_refused_at_once_and_the_others_wait() -> None:
    starts = Starts()
    call = effect(RateLimit(2, per=PER, max_wait=PER * 1.5))(starts)
    with Watch() as watch:
        found = await asyncio.gather(*[call() for _ in range(10)], return_exceptions=True)
    assert [type(each) for each in found] == [int] * 4 + [RateLimited] * 6  # two now, two in the next window
    assert watch.took < PER * 1.5 + AT_ONCE
    assert most_within(starts, PER) == 2


async def test_a_wait_that_grows_ends_at_max_wait() -> None:
    limit = RateLimit(1, per=PER, max_wait=PER * 2)
    await limit.acquire()
    waiting = asyncio.ensure_future(limit.acquire())
    await asyncio.sleep(0)
    limit.pause(LONG)
    with Watch() as watch, pytest.raises(RateLimited) as refused:
        await waiting
    assert PER <= watch.took < PER * 2 + AT_ONCE
    assert LONG - PER * 2 - AT_ONCE < refused.value.retry_after <= LONG


# -- change --------------------------------------------------------------------------------------------------


async def test_a_rate_that_is_lowered_goes_on_and_holds() -> None:
    """L12: while calls wait, and with more in the window than the new rate lets in it."""
    starts = Starts()
    limit = RateLimit(10, per=PER)
    call = effect(limit)(starts)
    waiting = [asyncio.ensure_future(call()) for _ in range(14)]
    await asyncio.sleep(0.01)  # so that ten have begun, and four wait
    assert (len(starts), limit._rates.waiting) == (10, 4)
    limit.change(2, per=PER)
    assert repr(limit) == f"RateLimit(2, per={PER})"
    await asyncio.gather(*waiting)
    assert most_within(starts[10:], PER) == 2
    assert starts[10] - starts[0] >= PER - HELD_UP
    assert starts[13] - starts[0] < PER * 2 + AT_ONCE


async def test_a_rate_that_is_raised_lets_go_who_waits() -> None:
    limit = RateLimit(1, per=LONG)
    await limit.acquire()
    waiting = [asyncio.ensure_future(limit.acquire()) for _ in range(5)]
    await asyncio.sleep(0)
    limit.change(6, per=LONG)
    with Watch() as watch:
        await asyncio.gather(*waiting)
    assert watch.took < AT_ONCE
    assert limit._rates.waiting == 0


async def test_who_waits_for_more_than_there_can_be_any_more_is_refused() -> None:
    limit = RateLimit(10, per=LONG)
    await limit.acquire(cost=10)
    waiting = asyncio.ensure_future(limit.acquire(cost=5))
    await asyncio.sleep(0)
    limit.change(4, per=LONG)
    with pytest.raises(RateLimited, match="never have room") as refused:
        await waiting
    assert refused.value.retry_after == float("inf")
