"""A hedge of a stream: attempts race for the first item, and the one that has it goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Hedge, Idle, Retry, Stream, Timeout, constant, stream
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock
from tests.stream.support import Boom, Log, rest, script


class Upstream:
    """Each attempt plays the next script, and has a log of its own."""

    def __init__(self, *scripts: tuple[Any, ...], cleanup: float | None = 0) -> None:
        self.scripts = scripts
        self.logs: list[Log] = []
        self.cleanup = cleanup
        self.tasks: list[asyncio.Task[Any] | None] = []

    async def run(self) -> AsyncIterator[Any]:
        log = Log()
        self.logs.append(log)
        self.tasks.append(asyncio.current_task())
        async with aclosing(script(log, *self.scripts[len(self.logs) - 1], cleanup=self.cleanup)) as items:
            async for item in items:
                yield item

    def under(self, *policies: Any) -> Stream[Any]:
        return stream(*policies, name="items")(self.run)()


async def read(of: Stream[Any]) -> list[Any]:
    async with of as items:
        return [item async for item in items]


async def test_a_stream_that_is_quick_is_pulled_in_the_consumers_task_alone(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((0.5, "a", 3.0, "b"))
    assert await read(upstream.under(Hedge(1))) == ["a", "b"]
    assert upstream.tasks == [asyncio.current_task()]
    assert virtual_clock.time() == 3.5, "once the first item is out, no other attempt begins"


async def test_the_second_attempt_wins_and_gives_all_items(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5, "a", 2.0, "b", "c"), cleanup=0.25)
    assert await read(upstream.under(Hedge(1))) == ["a", "b", "c"]
    assert upstream.logs[0] == ["opened", "CancelledError", "closed"]
    assert upstream.logs[1] == ["opened", "closed"]
    assert virtual_clock.time() == 1 + 0.5 + 0.25 + 2 + 0.25, "the first item waits for the loser's cleanup"


async def test_the_first_attempt_wins_though_another_has_begun(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((1.5, "a", 2.0, "b"), (9.0, "never"), cleanup=0.25)
    hedge = Hedge(1)
    assert await read(upstream.under(hedge)) == ["a", "b"]
    assert upstream.logs[1] == ["opened", "CancelledError", "closed"]
    assert virtual_clock.time() == 1.5 + 0.25 + 2 + 0.25
    assert (hedge.statistics()["hedged"], hedge.statistics()["won"]) == (1, 0)


async def test_an_empty_stream_wins_too(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5,))
    assert await read(upstream.under(Hedge(1))) == []
    assert virtual_clock.time() == 1.5


async def test_a_failed_attempt_leaves_the_other(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((1.2, Boom("first")), (0.5, "a"))
    assert await read(upstream.under(Hedge(1))) == ["a"]
    upstream = Upstream((1.6, "a"), (0.5, Boom("second")))
    assert await read(upstream.under(Hedge(1))) == ["a"]


async def test_all_failed_raises_the_first_with_the_others_noted(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((2.0, Boom("first")), (0.5, Boom("second")))
    with pytest.raises(Boom, match="first") as raised:
        await read(upstream.under(Hedge(1)))
    assert any("second" in note for note in raised.value.__notes__)


async def test_an_error_after_the_first_item_goes_to_the_consumer(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5, "a", 0.5, Boom("late")), (0.0, "again"))
    got: list[Any] = []
    with pytest.raises(Boom, match="late"):
        async with upstream.under(Retry(on=Boom, backoff=constant(0)), Hedge(1)) as items:
            async for item in items:
                got.append(item)
    assert got == ["a"]
    assert len(upstream.logs) == 2


async def test_leaving_closes_the_winner_and_waits(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5, "a", "b", "c"), cleanup=0.25)
    async with upstream.under(Hedge(1)) as items:
        assert await anext(items) == "a"
    assert upstream.logs[1] == ["opened", "GeneratorExit", "closed"]
    assert len(asyncio.all_tasks()) == 1


async def test_a_timeout_around_ends_the_winner_in_a_pull_and_between(virtual_clock: VirtualClock) -> None:
    for pause in (0.0, 9.0):
        upstream = Upstream((9.0, "slow"), (0.5, "a", 9.0, "b"), cleanup=0.25)
        began = virtual_clock.time()
        with pytest.raises(TimedOut):
            async with upstream.under(Timeout(3), Hedge(1)) as items:
                assert await anext(items) == "a"
                await asyncio.sleep(pause)
                assert upstream.logs[1][-1] == ("opened" if not pause else "closed")
                await anext(items)
        assert upstream.logs[1][-1] == "closed"
        assert virtual_clock.time() - began == (3.25 if not pause else 1.75 + 9)
        assert len(asyncio.all_tasks()) == 1


async def test_a_cancel_of_the_consumer_ends_both(virtual_clock: VirtualClock) -> None:
    for at in (0.5, 1.2, 2.5):
        upstream = Upstream((9.0, "slow"), (0.5, "a", 9.0, "b"), cleanup=0.25)
        task = asyncio.create_task(read(upstream.under(Hedge(1))))
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [log[-1] for log in upstream.logs] == ["closed"] * len(upstream.logs)
        assert len(asyncio.all_tasks()) == 1, at


async def test_a_cancel_after_the_other_has_won_cuts_the_losers_cleanup_short(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5, "a", 9.0, "b"), cleanup=0.25)
    task = asyncio.create_task(read(upstream.under(Hedge(1))))
    await asyncio.sleep(1.6)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [log[-1] for log in upstream.logs] == ["CancelledError", "closed"]
    assert len(asyncio.all_tasks()) == 1


async def test_each_attempt_takes_a_permit_inside_which_the_winner_holds(virtual_clock: VirtualClock) -> None:
    limit = ConcurrencyLimit(2)
    upstream = Upstream((9.0, "slow"), (0.5, "a", "b"))
    async with upstream.under(Hedge(1), limit) as items:
        assert await anext(items) == "a"
        assert limit.statistics().in_flight == 1
    assert limit.statistics().in_flight == 0


async def test_idle_inside_and_outside(virtual_clock: VirtualClock) -> None:
    for policies in ((Idle(2), Hedge(1)), (Hedge(1), Idle(2))):
        upstream = Upstream((1.8, "slow"), (0.5, "a", 3.0, "b"))
        with pytest.raises(TimedOut, match="Idle"):
            async with upstream.under(*policies) as items:
                assert await anext(items) == "a"
                await asyncio.sleep(5)  # the consumer's own time
                await anext(items)


async def test_a_loser_is_nothing_to_a_breaker_inside(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1)
    upstream = Upstream((9.0, "slow"), (0.5, "a"))
    assert await read(upstream.under(Hedge(1), breaker)) == ["a"]
    assert breaker.state() == "closed"


async def test_items_that_are_dropped_end_their_attempt(virtual_clock: VirtualClock) -> None:
    upstream = Upstream((9.0, "slow"), (0.5, "a", "b"))
    items = aiter(upstream.under(Hedge(1)))
    assert await anext(items) == "a"
    del items
    await rest(20)
    assert upstream.logs[1][-1] == "closed"
    assert len(asyncio.all_tasks()) == 1
