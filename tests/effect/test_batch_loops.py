"""Batches of several loops, and loops that end under one."""

import asyncio
import threading
import warnings
import weakref
from collections.abc import Awaitable

import pytest

from mountain_runtime import batch, gather

from .support import LONG, collect, ticks


def test_each_loop_has_its_own() -> None:
    lists: list[list[int]] = []

    @batch(4, wait=0.05)
    async def load(ids: list[int]) -> list[int]:
        lists.append(ids)
        return ids

    barrier = threading.Barrier(2)

    async def main(items: list[int]) -> None:
        barrier.wait()
        assert await gather([load(each) for each in items]) == items

    threads = [threading.Thread(target=asyncio.run, args=(main(items),)) for items in ([1, 2, 3], [4, 5, 6])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lists) == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("turns", [1, 4])
def test_a_loop_that_is_closed_in_mid_batch_leaves_the_next_one_its_own(turns: int) -> None:
    lists: list[list[int]] = []

    @batch(10, wait=0 if turns > 1 else LONG)
    async def load(ids: list[int]) -> list[int]:
        lists.append(ids)
        if len(lists) < turns:
            await asyncio.sleep(LONG)
        return ids

    async def leaves(items: list[int]) -> None:
        for each in items:
            asyncio.get_running_loop().create_task(called(each))
        await ticks(turns)

    async def called(item: int) -> int:
        return await load(item)

    asyncio.run(leaves([1, 2]))
    if turns > 1:
        lists.extend([[]] * turns)
        assert asyncio.run(called(3)) == 3
        assert lists[-1] == [3]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_loop_is_collected() -> None:
    @batch(10, wait=LONG)
    async def load(ids: list[int]) -> list[int]:
        return ids

    async def called() -> None:
        await load(1)

    def dropped() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loop = asyncio.new_event_loop()
        task = loop.create_task(called())
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return weakref.ref(loop)

    gone = dropped()
    collect()
    assert gone() is None


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_ends_under_a_batch_says_nothing_more(closes: bool, caplog: pytest.LogCaptureFixture) -> None:
    @batch(10)
    async def hangs(ids: list[int]) -> list[int]:
        await asyncio.sleep(LONG)
        return ids

    async def called(item: int) -> None:
        await hangs(item)

    def ends() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(called(each)) for each in (1, 2)]
        loop.run_until_complete(ticks(5))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        tasks.clear()
        if closes:
            loop.close()
        return weakref.ref(loop)

    gone = ends()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loop that is not closed, by its sockets
        collect()
    assert gone() is None
    assert caplog.records == []


def test_asyncio_run_ends_a_batch_that_hangs() -> None:
    events: list[str] = []

    @batch(10)
    async def hangs(ids: list[int]) -> list[int]:
        try:
            await asyncio.sleep(LONG)
        finally:
            events.append("ended")
        return ids

    async def main() -> None:
        asyncio.get_running_loop().create_task(called(1))
        await ticks(4)

    async def called(item: int) -> int:
        try:
            return await hangs(item)
        finally:
            events.append("left")

    asyncio.run(main())
    assert sorted(events) == ["ended", "left"]


def test_a_coroutine_that_is_closed_takes_its_item_out() -> None:
    b: list[list[int]] = []

    @batch(10)
    async def load(ids: list[int]) -> list[int]:
        b.append(ids)
        return ids

    async def main() -> None:
        driven: Awaitable[int] = load(1)
        iterator = driven.__await__()
        next(iterator)
        iterator.close()
        assert await load(2) == 2

    asyncio.run(main())
    assert b == [[2]]
