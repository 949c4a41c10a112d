"""Work that is not done to its end: failures, cancels, shutdowns leave nothing in flight."""

import asyncio
import weakref
from collections.abc import Awaitable
from typing import Any

import pytest

from mountain_runtime import Runtime, Work, amap, effect
from mountain_runtime.errors import ShuttingDown

from .crawl import REACHED, crawled, links
from .support import Boom, collect, forever, ticks


async def test_the_first_failure_ends_it_and_cleanup_may_add() -> None:
    work = Work([0, 1])
    cleaned: list[bool] = []

    async def visit(n: int) -> None:
        if n:
            await ticks()
            raise Boom
        try:
            await forever()
        finally:
            await ticks()
            cleaned.append(work.add(2))

    with pytest.raises(Boom):
        await crawled(visit, work)
    assert cleaned == [True]
    assert (len(work), work.done) == (3, 0)


async def test_a_failure_of_a_call_that_the_growth_began() -> None:
    """It is raised though nothing else happens."""
    work = Work([0])
    added = asyncio.Event()

    def visit(n: int) -> Awaitable[None]:
        if n:
            raise Boom
        return waits()

    async def waits() -> None:
        work.add(1)
        await added.wait()

    with pytest.raises(Boom):
        await crawled(visit, work)


@pytest.mark.parametrize("by_the_function", [False, True])
@pytest.mark.parametrize("after", range(30))
async def test_a_cancel_at_any_time(after: int, *, by_the_function: bool) -> None:
    """Nothing is left in flight, and nothing begins afterwards."""
    work = Work([0])
    begun: list[int] = []
    ended: list[int] = []

    async def visit(n: int) -> list[int]:
        begun.append(n)
        try:
            await ticks(n % 3)
            more = [2 * n + 1, 2 * n + 2]
            if by_the_function:
                for each in more:
                    work.add(each)
                    await ticks(1)
                return []
            return more
        except asyncio.CancelledError:
            await ticks(2)  # a cleanup that one could miss
            raise
        finally:
            ended.append(n)

    task = asyncio.create_task(crawled(visit, work))
    await ticks(after)
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        await task
    assert sorted(begun) == sorted(ended)
    assert len(set(begun)) == len(begun)
    so_far = len(begun)
    await ticks(10)
    assert len(begun) == so_far


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    work = Work([0])
    seen: list[int] = []
    async with amap(links, work, limit=2) as results:
        while True:
            pull = asyncio.ensure_future(anext(results))
            await ticks(2)
            pull.cancel()
            try:
                item, found = await pull
            except asyncio.CancelledError:
                continue
            except StopAsyncIteration:
                break
            seen.append(item)
            for link in found:
                work.add(link)
    assert sorted(seen) == REACHED


async def test_a_drain_takes_no_more_and_says_so_where_some_is_left() -> None:
    work = Work([0])
    ended: list[BaseException] = []
    seen: list[int] = []

    async def visit(n: int) -> None:
        work.add(n + 1)
        await ticks(2)
        work.add(-n - 1)

    @effect
    async def job() -> None:
        try:
            async with amap(visit, work, limit=2) as results:
                async for n, _ in results:
                    seen.append(n)
        except ShuttingDown as error:
            ended.append(error)

    async with Runtime() as runtime:
        runtime.submit(job())
        await ticks(30)
    assert len(ended) == 1
    assert len(seen) == work.done
    assert 0 < work.done < len(work)
    assert runtime.report is not None
    assert runtime.report.ok


async def test_a_drain_of_work_that_is_all_begun() -> None:
    """Nothing is left, so nothing is refused."""
    work = Work([0])
    begun = asyncio.Event()
    let_go = asyncio.Event()

    async def visit(n: int) -> int:
        begun.set()
        await let_go.wait()
        return n

    @effect
    async def job() -> list[int]:
        return await crawled(lambda n: effect(visit)(n).map(lambda _: None), work)

    async with Runtime() as runtime:
        handle = runtime.submit(job())
        await begun.wait()
        asyncio.get_running_loop().call_later(0.002, let_go.set)  # in the drain
    assert await handle == [0]


def test_work_that_has_ended_keeps_no_loop() -> None:
    loop = asyncio.new_event_loop()
    gone = weakref.ref(loop)
    work = Work([0])
    loop.run_until_complete(crawled(links, work))
    loop.close()
    del loop
    collect()
    assert gone() is None
    assert work.done == len(REACHED)


@pytest.mark.usefixtures("complaints")
def test_a_block_that_is_dropped_is_collected() -> None:
    async def half() -> "weakref.ref[Any]":
        work = Work([0])
        results = amap(links, work, limit=1)
        await results.__aenter__()
        return weakref.ref(results)

    gone = asyncio.run(half())
    collect()
    assert gone() is None
