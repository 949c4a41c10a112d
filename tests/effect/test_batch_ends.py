"""Callers of a batch that leave, before it has begun and while it runs; and loops that end under it."""

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from mountain_runtime import Effect, Timeout, batch, effect, gather, race
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, collect, ticks

#: Time is virtual on asyncio's own loops only.
virtual = pytest.mark.asyncio(loop_factories=["asyncio"])

Task = asyncio.Task[Any]


class Batched:
    """A batch function that notes what becomes of it, and goes on when it is told."""

    def __init__(self, size: int = 100, wait: float = 0) -> None:
        self.lists: list[list[int]] = []
        self.events: list[str] = []
        self.go = asyncio.Event()
        self.load: Callable[[int], Effect[int]] = batch(size, wait=wait)(self._load)

    async def _load(self, ids: list[int]) -> list[int]:
        self.lists.append(ids)
        try:
            await self.go.wait()
            return ids
        except asyncio.CancelledError:
            self.events.append("cancelled")
            await ticks(5)
            self.events.append("cleaned up")
            raise

    async def called(self, item: int) -> int:
        try:
            return await self.load(item)
        except BaseException as error:
            self.events.append(f"{item} {type(error).__name__}")
            raise

    def begin(self, *items: int) -> list[Task]:
        return [asyncio.create_task(self.called(item)) for item in items]


async def ended(tasks: list[Task]) -> list[Any]:
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return ["cancelled" if isinstance(each, asyncio.CancelledError) else each for each in found]


# -- M11, M12 --------------------------------------------------------------------------------------------------------


@virtual
async def test_of_three_one_is_cancelled_before(virtual_clock: VirtualClock) -> None:
    b = Batched(wait=1)
    tasks = b.begin(1, 2, 3)
    await ticks()
    tasks[1].cancel()
    b.go.set()
    await virtual_clock.advance(1)
    assert await ended(tasks) == [1, "cancelled", 3]
    assert b.lists == [[1, 3]]


async def test_of_three_one_is_cancelled_during() -> None:
    b = Batched()
    tasks = b.begin(1, 2, 3)
    await ticks(5)
    tasks[1].cancel()
    await ticks()
    assert tasks[1].cancelled()
    b.go.set()
    assert await ended(tasks) == [1, "cancelled", 3]
    assert b.lists == [[1, 2, 3]]
    assert b.events == ["2 CancelledError"]


@virtual
async def test_all_are_cancelled_before(virtual_clock: VirtualClock) -> None:
    b = Batched(wait=1)
    tasks = b.begin(1, 2, 3)
    await ticks()
    for task in tasks:
        task.cancel()
    assert await ended(tasks) == ["cancelled"] * 3
    await virtual_clock.advance(2)
    assert b.lists == []


async def test_all_are_cancelled_during() -> None:
    b = Batched()
    tasks = b.begin(1, 2, 3)
    await ticks(5)
    for task in tasks:
        task.cancel()
    assert await ended(tasks) == ["cancelled"] * 3
    assert sorted(b.events[:3]) == ["1 CancelledError", "2 CancelledError", "cancelled"]
    assert b.events[3:] == ["cleaned up", "3 CancelledError"]  # the last one waits for the cleanup


@virtual
async def test_an_equal_item_after_a_cancel_is_served(virtual_clock: VirtualClock) -> None:
    b = Batched(wait=1)
    b.go.set()
    first = b.begin(1)
    await ticks()
    first[0].cancel()
    second = b.begin(1)
    await virtual_clock.advance(1)
    assert await ended(first + second) == ["cancelled", 1]
    assert b.lists == [[1]]


# -- others ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(9))
@pytest.mark.parametrize("who", [(0,), (1,), (0, 2), (0, 1, 2)])
async def test_a_cancel_at_every_turn(after: int, who: tuple[int, ...]) -> None:
    b = Batched()
    tasks = b.begin(0, 1, 2)
    for turn in range(9):
        if turn == after:
            for each in who:
                tasks[each].cancel()
        if turn == 5:
            b.go.set()
        await asyncio.sleep(0)
    for item, found in enumerate(await ended(tasks)):
        assert found == item or (found == "cancelled" and item in who)
    assert len(b.lists) <= 1
    assert ("cancelled" in b.events) == ("cleaned up" in b.events)
    assert ("cancelled" in b.events) <= (len(who) == 3)


async def test_a_cancelled_item_makes_room() -> None:
    b = Batched(size=3, wait=LONG)
    b.go.set()
    tasks = b.begin(1, 2)
    await ticks()
    tasks[0].cancel()
    await ticks()
    tasks += b.begin(3)
    await ticks()
    assert b.lists == []
    tasks += b.begin(4)
    assert await ended(tasks) == ["cancelled", 2, 3, 4]
    assert b.lists == [[2, 3, 4]]


async def test_a_second_cancel_does_not_cut_the_cleanup_short() -> None:
    b = Batched()
    (task,) = b.begin(1)
    await ticks(5)
    task.cancel()
    await ticks(2)
    task.cancel()
    assert await ended([task]) == ["cancelled"]
    assert b.events == ["cancelled", "cleaned up", "1 CancelledError"]


@virtual
async def test_a_timeout_of_the_only_caller_waits_for_the_cleanup(virtual_clock: VirtualClock) -> None:
    b = Batched()
    task = asyncio.create_task(in_time(b.load(1)))
    await virtual_clock.advance(1)
    await ticks(9)
    assert isinstance((await ended([task]))[0], TimedOut)
    assert b.events == ["cancelled", "cleaned up"]


async def in_time(call: Effect[int]) -> int:
    return await call.under(Timeout(1))


async def test_a_cancelled_scope_of_anyio_waits_for_the_cleanup() -> None:
    b = Batched()
    with anyio.CancelScope() as scope:
        cancels = asyncio.create_task(cancels_soon(scope))
        await b.called(1)
    await cancels
    assert scope.cancelled_caught
    assert b.events == ["cancelled", "cleaned up", "1 CancelledError"]


async def cancels_soon(scope: anyio.CancelScope) -> None:
    await ticks(6)
    scope.cancel()


@virtual
async def test_a_timeout_of_one_leaves_the_others(virtual_clock: VirtualClock) -> None:
    b = Batched()
    first, second = *b.begin(1), asyncio.create_task(in_time(b.load(2)))
    await virtual_clock.advance(1)
    assert isinstance((await ended([second]))[0], TimedOut)
    assert b.events == []
    b.go.set()
    assert await first == 1
    assert b.lists == [[1, 2]]


async def test_a_failed_gather_and_a_race_take_their_items_out() -> None:
    b = Batched()
    b.go.set()

    @effect
    async def fails() -> int:
        raise KeyError

    with pytest.raises(KeyError):
        await gather(b.load(1), fails(), b.load(2))

    @effect
    async def wins() -> int:
        return 5

    assert await race(b.load(3), wins()) == 5
    assert await b.load(4) == 4
    assert b.lists[-1] == [4]


async def test_a_function_that_ignores_its_cancel_is_waited_for() -> None:
    events: list[str] = []

    @batch(10)
    async def stubborn(ids: list[int]) -> list[int]:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await ticks(5)
        events.append("ended")
        return ids

    task = asyncio.create_task(stubborn(1))
    await ticks(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["ended"]


async def test_a_result_that_comes_with_a_cancel_is_reported_by_none(caplog: pytest.LogCaptureFixture) -> None:
    go = asyncio.Event()
    tasks: list[Task] = []

    @batch(10)
    async def fails(ids: list[int]) -> list[Any]:
        await go.wait()
        tasks[0].cancel()
        return [KeyError(each) for each in ids]

    async def called() -> None:
        await fails(1)

    tasks.append(asyncio.create_task(called()))
    await ticks(5)
    go.set()
    assert await ended(tasks) == ["cancelled"]
    tasks.clear()
    collect()
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_the_batches_task_cancelled_by_another_ends_its_callers() -> None:
    b = Batched()
    tasks = b.begin(1, 2)
    before = asyncio.all_tasks()
    await ticks(5)
    (own,) = asyncio.all_tasks() - before
    own.cancel()
    assert await ended(tasks) == ["cancelled"] * 2


async def test_it_keeps_nothing_when_it_has_ended() -> None:
    class Item: ...

    @batch(10)
    async def loads(items: list[Item]) -> list[int]:
        return [1] * len(items)

    item = Item()
    gone = weakref.ref(item)
    assert await loads(item) == 1
    del item
    collect()
    assert gone() is None


@virtual
async def test_the_first_caller_may_leave_and_the_rest_stay(virtual_clock: VirtualClock) -> None:
    b = Batched(wait=1)
    b.go.set()
    (first,) = b.begin(1)
    await virtual_clock.advance(0.5)
    (second,) = b.begin(2)
    await virtual_clock.advance(0.1)
    first.cancel()
    await virtual_clock.advance(0.3)
    assert b.lists == []
    await virtual_clock.advance(0.1)
    assert await second == 2
    assert b.lists == [[2]]
