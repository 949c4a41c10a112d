"""A policy that runs what it encloses twice at once: what its flights get of the call, and give back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Retry, Timeout, constant, deadline, effect
from mountain_runtime._native import Layer, current_deadline
from mountain_runtime.errors import TimedOut
from mountain_runtime.policy._base import Policy
from mountain_runtime.policy._part import Part
from tests.effect.support import LONG, ticks

SOON = 0.1
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


@dataclass(frozen=True, slots=True)
class Twice(Policy):
    seconds: float

    def _part(self) -> Part:
        return Part(kind="retry", text="Twice", does="runs twice at once", attempts=2)

    def _layer(self) -> Layer:
        return Layer.trial_twice(self.seconds)


events: list[str] = []
tasks: list[Any] = []

Make = Callable[[], Awaitable[int]]


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    events.clear()
    tasks.clear()


def twice(*outside: Any, inside: tuple[Any, ...] = (), takes: tuple[float, ...], fails: int = 0) -> Make:
    """Run number n takes so many seconds and gives n; the first `fails` of them fail. Each cleans up for some turns."""

    @effect(*outside, Twice(SOON), *inside)
    async def run() -> int:
        number = len(tasks)
        tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(takes[number])
            if number < fails:
                raise ValueError(number)
        except asyncio.CancelledError:
            await ticks(5)
            events.append(f"{number} cleaned up")
            raise
        return number

    return run


async def ends(work: Awaitable[Any]) -> BaseException:
    try:
        await work
    except BaseException as error:
        events.append(type(error).__name__)
        return error
    raise AssertionError


async def test_two_tasks_at_once_and_the_first_success_wins() -> None:
    assert await twice(takes=(LONG, SOON))() == 1
    assert events == ["0 cleaned up"]
    assert len({*tasks, asyncio.current_task()}) == 3


async def test_one_that_ends_in_time_is_alone() -> None:
    assert await twice(takes=(SOON / 2,))() == 0
    assert (events, len(tasks)) == ([], 1)


async def test_the_first_may_still_win() -> None:
    assert await twice(takes=(SOON * 2, LONG))() == 0
    assert events == ["1 cleaned up"]


async def test_where_both_fail_the_first_error_is_raised_with_its_frames() -> None:
    error = await ends(twice(takes=(SOON * 3, SOON), fails=2)())
    assert error.args == (1,)
    frames, at = [], error.__traceback__
    while at is not None:
        frames.append(at.tb_frame.f_code.co_name)
        at = at.tb_next
    assert frames[-1] == "run"


async def test_a_timeout_asks_both_and_waits_for_both() -> None:
    await ends(twice(Timeout(SOON * 2), takes=(LONG, LONG))())
    assert sorted(events[:2]) == ["0 cleaned up", "1 cleaned up"]
    assert events[2:] == ["TimedOut"]


async def test_a_deadline_asks_both_and_waits_for_both() -> None:
    async def within() -> None:
        async with deadline(SOON * 2):
            await twice(takes=(LONG, LONG))()

    await ends(within())
    assert sorted(events[:2]) == ["0 cleaned up", "1 cleaned up"]
    assert events[2:] == ["TimedOut"]


async def test_a_cancel_asks_both_waits_for_both_and_keeps_its_message() -> None:
    task = asyncio.create_task(ends(twice(takes=(LONG, LONG))()))
    await asyncio.sleep(SOON * 2)
    task.cancel("enough")
    await ticks(2)
    task.cancel("again")
    error = await task
    assert sorted(events[:2]) == ["0 cleaned up", "1 cleaned up"]
    assert (events[2:], error.args) == (["CancelledError"], ("enough",))


async def test_a_cancel_before_the_second_begins_none() -> None:
    """The first cleans up for longer than the layer waits before it runs its inside again."""

    @effect(Twice(SOON))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(SOON * 5)
            events.append("cleaned up")

    task = asyncio.create_task(ends(run()))
    await asyncio.sleep(SOON / 2)
    task.cancel("enough")
    error = await task
    assert (events, len(tasks), error.args) == (["cleaned up", "CancelledError"], 1, ("enough",))


async def test_a_cancel_while_the_loser_cleans_up_wins() -> None:
    @effect(Twice(SOON))
    async def run() -> int:
        number = len(tasks)
        tasks.append(asyncio.current_task())
        if number == 0:
            try:
                await asyncio.sleep(LONG)
            finally:
                caller.cancel("enough")
                await ticks(5)
                events.append("cleaned up")
        return number

    caller = asyncio.create_task(ends(run()))
    error = await caller
    assert (events, error.args) == (["cleaned up", "CancelledError"], ("enough",))


async def test_a_flight_has_the_deadline_of_its_caller() -> None:
    left: list[float] = []

    @effect(Timeout(5), Twice(1))
    async def run() -> None:
        found = current_deadline()
        assert found is not None
        left.append(found.remaining())
        await asyncio.sleep(LONG)

    error = await ends(run())
    assert isinstance(error, TimedOut)
    assert left == pytest.approx([5, 4])
    assert error.policy == "Timeout(5)"


async def test_a_retry_inside_gives_up_what_does_not_fit_the_callers_limit() -> None:
    tries = Retry(on=ValueError, backoff=constant(60))

    @effect(Timeout(5), Twice(1), tries)
    async def run() -> None:
        raise ValueError("no")

    begun = asyncio.get_running_loop().time()
    error = await ends(run())
    assert isinstance(error, ValueError)
    assert asyncio.get_running_loop().time() - begun < 1
    assert "Timeout(5) of effect" in "".join(error.__notes__)


async def test_each_takes_a_permit_of_its_own_and_gives_it_back() -> None:
    limit = ConcurrencyLimit(2)
    call = asyncio.create_task(ends(twice(inside=(limit,), takes=(LONG, LONG))()))
    await asyncio.sleep(SOON * 2)
    assert limit.statistics().in_flight == 2
    call.cancel()
    await call
    assert limit.statistics().in_flight == 0


async def test_both_are_within_what_their_caller_holds() -> None:
    limit = ConcurrencyLimit(1)
    inner = effect(limit)(ticks)
    inside: list[str] = []

    @effect(limit, Twice(SOON))
    async def run() -> None:
        await asyncio.sleep(SOON * 2)
        inside.append(type(await ends(inner(1))).__name__)
        raise ValueError("no")

    await ends(asyncio.wait_for(run(), 5))
    assert (inside, events[-1]) == (["Reentered", "Reentered"], "ValueError")
    assert limit.statistics().in_flight == 0


async def test_a_loser_is_nothing_to_a_breaker() -> None:
    inside, outside = CircuitBreaker(failures=1), CircuitBreaker(failures=1)
    assert await twice(outside, inside=(inside,), takes=(LONG, SOON))() == 1
    assert inside.state() == outside.state() == "closed"


async def test_a_retry_around_begins_two_more() -> None:
    again = Retry(on=ValueError, attempts=2, backoff=constant(0))
    assert await twice(again, takes=(SOON * 3, SOON, LONG, SOON), fails=2)() == 3
    assert (events, len(tasks)) == (["2 cleaned up"], 4)


async def test_it_takes_no_generator() -> None:
    @effect(Twice(SOON))
    async def takes(items: object) -> None: ...

    with pytest.raises(TypeError, match="generator"):
        await takes(n for n in range(3))
