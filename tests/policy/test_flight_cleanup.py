"""The last caller of a cached call waits for its cleanup, whatever makes it go: semantics row 1 for flights."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Retry, Timeout, constant, deadline, effect, gather
from mountain_runtime.errors import TimedOut
from tests.effect.support import LONG, ticks

SOON = 0.25  # real: on uvloop time cannot jump; a busy machine begins the work within it
events: list[str] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    events.clear()


async def cleans_up() -> str:
    """Runs until it is cancelled, and then takes a few turns to clean up."""
    events.append("begun")
    try:
        await asyncio.sleep(LONG)
    finally:
        await ticks(5)
        events.append("cleaned up")
    return "never"


Make = Callable[[], Awaitable[str]]


def cached(*outside: Any, inside: tuple[Any, ...] = (), fn: Any = cleans_up) -> Make:
    made: Make = effect(*outside, Cache(ttl=LONG), *inside)(fn)
    return made


async def ends(work: Awaitable[Any]) -> BaseException:
    try:
        await work
    except BaseException as error:
        events.append(type(error).__name__)
        return error
    raise AssertionError


async def test_a_timeout_waits() -> None:
    await ends(cached(Timeout(SOON))())
    assert events == ["begun", "cleaned up", "TimedOut"]


async def test_each_attempt_waits() -> None:
    await ends(cached(Retry(on=TimedOut, attempts=2, backoff=constant(0)), Timeout(SOON))())
    assert events == ["begun", "cleaned up"] * 2 + ["TimedOut"]


async def test_a_deadline_waits() -> None:
    async def within() -> None:
        async with deadline(SOON):
            await cached()()

    await ends(within())
    assert events == ["begun", "cleaned up", "TimedOut"]


async def test_a_cancel_waits_and_keeps_its_message() -> None:
    task = asyncio.create_task(ends(cached()()))
    await ticks(5)
    task.cancel("enough")
    error = await task
    assert events == ["begun", "cleaned up", "CancelledError"]
    assert error.args == ("enough",)


async def test_a_second_cancel_does_not_cut_the_cleanup_short() -> None:
    task = asyncio.create_task(ends(cached()()))
    await ticks(5)
    task.cancel("first")
    await ticks(2)
    task.cancel("second")
    error = await task
    assert events == ["begun", "cleaned up", "CancelledError"]
    assert error.args == ("first",)


async def test_an_outside_cancel_during_the_wait_wins_over_the_timeout() -> None:
    task: asyncio.Task[BaseException]

    async def cancels_its_caller() -> str:
        try:
            await asyncio.sleep(LONG)
        finally:
            task.cancel("outside")
            await ticks(5)
            events.append("cleaned up")
        return "never"

    task = asyncio.create_task(ends(cached(Timeout(SOON), fn=cancels_its_caller)()))
    error = await task
    assert events == ["cleaned up", "CancelledError"]
    assert error.args == ("outside",)


async def test_while_others_wait_a_caller_goes_at_once() -> None:
    call = cached()
    stays, goes = asyncio.create_task(ends(call())), asyncio.create_task(ends(call()))
    await ticks(5)
    goes.cancel()
    await goes
    assert events == ["begun", "CancelledError"]
    stays.cancel()
    await stays
    assert events == ["begun", "CancelledError", "cleaned up", "CancelledError"]


async def test_two_that_go_in_one_turn() -> None:
    call = cached()
    both = [asyncio.create_task(ends(call())) for _ in range(2)]
    await ticks(5)
    for task in both:
        task.cancel()
    await asyncio.wait(both)
    assert events == ["begun", "CancelledError", "cleaned up", "CancelledError"]


async def test_who_comes_during_the_cleanup_begins_another() -> None:
    call = cached()
    first = asyncio.create_task(ends(call()))
    await ticks(5)
    first.cancel()
    await ticks(2)
    second = asyncio.create_task(ends(call()))
    await first
    assert events == ["begun", "begun", "cleaned up", "CancelledError"]
    second.cancel()
    await second
    assert events[4:] == ["cleaned up", "CancelledError"]


async def test_its_permit_is_given_back() -> None:
    limit = ConcurrencyLimit(1)
    await ends(cached(Timeout(SOON), inside=(limit,))())
    assert limit.statistics().in_flight == 0


async def test_a_value_that_comes_late_wins() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await ticks(3)
        return "a value"

    assert await cached(Timeout(SOON), fn=stubborn)() == "a value"


async def test_an_error_that_comes_late_is_the_cause() -> None:
    async def fails() -> str:
        try:
            await asyncio.sleep(LONG)
        finally:
            await ticks(3)
            raise ValueError("late")

    error = await ends(cached(Timeout(SOON), fn=fails)())
    assert isinstance(error, TimedOut)
    assert isinstance(error.__cause__, ValueError)


async def test_at_once() -> None:
    """Whether or not it has had its first step by then, nothing of it is left."""
    await ends(cached(Timeout(0))())
    assert events in (["TimedOut"], ["begun", "cleaned up", "TimedOut"])


async def test_the_last_of_a_group() -> None:
    async def fails() -> None:
        await ticks(5)
        raise ValueError

    await ends(gather(effect(cleans_up)(), effect(Cache(ttl=LONG))(cleans_up)(), effect(fails)()))
    assert sorted(events) == ["ValueError", "begun", "begun", "cleaned up", "cleaned up"]
    assert events[-1] == "ValueError"


async def test_a_caller_on_another_loop_waits_too() -> None:
    """The flight cleans up on the loop of its first caller, who has gone."""
    call = cached()
    first = asyncio.create_task(ends(call()))
    await ticks(5)
    joined = threading.Event()

    def elsewhere() -> list[str]:
        async def main() -> list[str]:
            task = asyncio.create_task(ends(call()))
            await ticks(5)
            joined.set()
            while "CancelledError" not in events:
                await asyncio.sleep(0.001)  # the other loop announces nothing here
            task.cancel()
            await task
            return list(events)

        return asyncio.run(main())

    thread = asyncio.create_task(asyncio.to_thread(elsewhere))
    while not joined.is_set():
        await asyncio.sleep(0.001)  # likewise
    first.cancel()
    await first
    assert await thread == ["begun", "CancelledError", "cleaned up", "CancelledError"]


def test_a_loop_that_closes_in_the_cleanup_keeps_no_caller_elsewhere() -> None:
    call = cached()
    loop = asyncio.new_event_loop()
    first = loop.create_task(ends(call()))
    loop.run_until_complete(ticks(5))

    async def main() -> None:
        task = asyncio.create_task(ends(call()))
        await ticks(5)
        first.cancel()
        await asyncio.to_thread(loop.run_until_complete, first)
        task.cancel()
        await ticks(2)
        assert not task.done()  # the flight's loop does not run
        await asyncio.to_thread(loop.close)
        await asyncio.wait_for(task, 5)

    asyncio.run(main())
    assert events.count("begun") == 1


async def test_a_coroutine_that_is_closed_waits_for_nothing() -> None:
    work = cached()()
    running = work.__await__()
    next(running)
    running.close()  # type: ignore[attr-defined]
    await ticks(10)
    assert events in (["begun", "cleaned up"], [])
