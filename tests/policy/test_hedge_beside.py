"""A hedge beside other policies: what its attempts take of limits, are to breakers, and are to a Retry."""

import asyncio
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Hedge, RateLimit, Retry, Timeout, constant, effect
from mountain_runtime.errors import RateLimited, Reentered
from tests.effect.support import LONG, ticks
from tests.policy.hedged import LATER, Attempts, ends

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_takes_a_permit_of_its_own_and_gives_it_back() -> None:
    limit = ConcurrencyLimit(2)
    made = Attempts(LONG, LONG)
    call = asyncio.create_task(ends(made.hedged(inside=(limit,))()))
    await asyncio.sleep(LATER * 2)
    assert limit.statistics().in_flight == 2
    call.cancel()
    await call
    assert limit.statistics().in_flight == 0


async def test_of_a_limit_outside_they_share_one_permit() -> None:
    limit = ConcurrencyLimit(2)
    made = Attempts(LONG, LONG)
    call = asyncio.create_task(ends(made.hedged(limit)()))
    await asyncio.sleep(LATER * 2)
    assert limit.statistics().in_flight == 1
    call.cancel()
    await call
    assert limit.statistics().in_flight == 0


async def test_an_attempt_that_waits_for_a_permit_of_the_other_ends_with_it() -> None:
    limit = ConcurrencyLimit(1)
    made = Attempts(LATER * 3)
    assert await made.hedged(inside=(limit,))() == 0
    statistics = limit.statistics()
    assert (statistics.in_flight, sum(statistics.waiting.values()), len(made.tasks)) == (0, 0, 1)


async def test_a_first_attempt_that_waits_for_a_permit_is_let_go_by_the_winner() -> None:
    limit = ConcurrencyLimit(1)
    async with limit.slot():
        made = Attempts(0, 0)
        waits = asyncio.ensure_future(made.hedged(inside=(limit,))())
        await asyncio.sleep(LATER * 3)
        assert (sum(limit.statistics().waiting.values()), len(made.tasks)) == (2, 0)
    await waits
    assert (limit.statistics().in_flight, sum(limit.statistics().waiting.values())) == (0, 0)


async def test_both_are_within_what_their_caller_holds() -> None:
    limit = ConcurrencyLimit(1)
    inner = effect(limit)(ticks)
    inside: list[type] = []

    @effect(limit, Hedge(LATER, budget=None))
    async def run() -> None:
        await asyncio.sleep(LATER * 2)
        inside.append(type(await ends(inner(1))))
        raise ValueError("no")

    assert isinstance(await ends(asyncio.wait_for(run(), 5)), ValueError)
    assert inside == [Reentered, Reentered]
    assert limit.statistics().in_flight == 0


async def test_attempts_that_a_rate_refuses_leave_the_first_s_error_to_come_at_once() -> None:
    """M9: no room for another attempt, with two seconds left."""
    rate = RateLimit(1, per=60, max_wait=0)
    made = Attempts(LATER * 3, fails=1)
    begun = now()
    error = await ends(made.hedged(Timeout(2), hedge=Hedge(LATER, attempts=4, budget=None), inside=(rate,))())
    assert error.args == (0,)
    assert now() - begun == pytest.approx(LATER * 3)
    assert "RateLimited" in "".join(error.__notes__)
    assert not isinstance(error, RateLimited)


async def test_a_loser_is_nothing_to_a_breaker() -> None:
    inside, outside = CircuitBreaker(failures=1), CircuitBreaker(failures=1)
    for takes in ((LONG, LATER), (LATER * 2, LONG)):
        await Attempts(*takes).hedged(outside, inside=(inside,))()
        assert inside.state() == outside.state() == "closed"


async def test_to_a_breaker_outside_all_attempts_are_one_call() -> None:
    outside = CircuitBreaker(failures=2)
    made = Attempts(LATER * 2, LATER, fails=2)
    await ends(made.hedged(outside)())
    assert outside.state() == "closed"
    inside = CircuitBreaker(failures=2)
    made = Attempts(LATER * 2, LATER, fails=2)
    await ends(made.hedged(inside=(inside,))())
    assert inside.state() == "open"


async def test_a_probe_that_loses_makes_room_for_another() -> None:
    breaker = CircuitBreaker(failures=1, cooldown=1)
    await ends(Attempts(0, fails=1).under(breaker)())
    await asyncio.sleep(1)
    made = Attempts(LONG, LATER)
    probe = asyncio.create_task(ends(made.hedged(inside=(breaker,))()))
    await asyncio.sleep(LATER * 2)
    probe.cancel()
    await probe
    assert breaker.state() == "half_open"
    assert await Attempts(0).under(breaker)() == 0
    assert breaker.state() == "closed"


async def test_a_retry_around_hedges_anew() -> None:
    again = Retry(on=ValueError, attempts=2, backoff=constant(0))
    made = Attempts(LATER * 3, LATER, LONG, LATER, fails=2)
    assert await made.hedged(again)() == 3
    assert (made.events, len(made.tasks)) == (["2 cleaned up"], 4)


async def test_a_retry_inside_tries_each_attempt_again_and_only_the_loser_is_cancelled() -> None:
    """M7: the winner's value is used after the call, and is whole."""

    class Body:
        def __init__(self) -> None:
            self.pieces: asyncio.Queue[int] = asyncio.Queue()
            self.task = asyncio.create_task(self.feed())

        async def feed(self) -> None:
            for piece in range(5):
                await asyncio.sleep(LATER)
                self.pieces.put_nowait(piece)

    bodies: list[Body] = []

    @effect(Hedge(LATER, budget=None), Retry(on=OSError, attempts=3, backoff=constant(0)))
    async def run() -> Body:
        attempts.append(asyncio.current_task())
        if attempts.count(asyncio.current_task()) == 1:
            raise OSError("once")
        body = Body()
        bodies.append(body)
        if asyncio.current_task() is attempts[0]:
            try:
                await asyncio.sleep(LONG)
            finally:
                body.task.cancel()
        return body

    attempts: list[Any] = []
    body = await run()
    assert [await body.pieces.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(attempts) == 4
    assert [each.task.cancelled() for each in bodies] == [True, False]


async def test_a_hedge_in_a_hedge() -> None:
    made = Attempts(LONG, LONG, LATER, LONG)
    inner = Hedge(LATER / 2, budget=None)
    assert await made.hedged(inside=(inner,))() == 2
    assert len(made.tasks) == 4
    assert all(task.done() for task in made.tasks[1:])
