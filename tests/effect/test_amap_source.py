"""A source of `amap` is driven as `async for` drives it: pulled and closed in one task and one context."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from mountain_runtime import amap, effect

from .support import LONG, SOON, Boom, forever, ticks

SPAN: ContextVar[str] = ContextVar("span", default="none")


async def same(n: int) -> int:
    await asyncio.sleep(0)
    return n


class Rows:
    """A source with a context variable around its `yield`, which notes in which tasks it runs."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.tasks: list[object] = []
        self.closed = False

    async def lazily(self) -> AsyncIterator[int]:
        token = SPAN.set("rows")
        self.tasks.append(asyncio.current_task())
        try:
            for n in range(self.n):
                await asyncio.sleep(0)
                self.tasks.append(asyncio.current_task())
                yield n
        finally:
            self.tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            SPAN.reset(token)  # a ValueError in another context
            self.closed = True

    def eagerly(self) -> Iterator[int]:
        token = SPAN.set("rows")
        try:
            yield from range(self.n)
        finally:
            SPAN.reset(token)
            self.closed = True


MAKERS: list[Callable[[Rows], Any]] = [Rows.lazily, Rows.eagerly]


@pytest.mark.parametrize("make", MAKERS)
async def test_a_context_variable_around_the_yield(make: Callable[[Rows], Any]) -> None:
    rows = Rows(5)
    async with amap(same, make(rows), limit=2) as results:
        assert sorted([n async for n, _ in results]) == list(range(5))
    assert rows.closed
    assert len(set(rows.tasks)) <= 1
    assert SPAN.get() == "none"


@pytest.mark.parametrize("make", MAKERS)
async def test_the_work_on_an_item_sees_what_the_source_has_set(make: Callable[[Rows], Any]) -> None:
    async def seen(_: int) -> str:
        return SPAN.get()

    async with amap(seen, make(Rows(3)), limit=1) as results:
        assert {found async for _, found in results} == {"rows"}


@pytest.mark.parametrize("make", MAKERS)
async def test_results_taken_in_another_task_than_the_blocks(make: Callable[[Rows], Any]) -> None:
    rows = Rows(5)

    async def take(results: AsyncIterator[tuple[int, int]]) -> None:
        async for _ in results:
            await ticks()
            return

    async with amap(same, make(rows), limit=2) as results:
        await asyncio.create_task(take(results))
        await asyncio.create_task(take(results))
    assert rows.closed


async def test_leaving_early_closes_it_where_it_ran() -> None:
    rows = Rows(1000)
    async with amap(same, rows.lazily(), limit=2) as results:
        async for _ in results:
            break
    assert rows.closed
    assert len(set(rows.tasks)) == 1


async def test_a_failure_closes_it_where_it_ran() -> None:
    async def fails(_: int) -> int:
        raise Boom

    rows = Rows(1000)
    with pytest.raises(Boom):
        async with amap(fails, rows.lazily(), limit=2) as results:
            async for _ in results:
                pass
    assert rows.closed
    assert len(set(rows.tasks)) == 1


# -- limits in it ------------------------------------------------------------------------------------------------


async def limited() -> AsyncIterator[int]:
    async with asyncio.timeout(SOON):
        while True:
            await asyncio.sleep(0)
            yield 1


@pytest.mark.parametrize("slowly", [False, True], ids=["in a pull", "between two pulls"])
async def test_a_timeout_in_it_fires_there(slowly: bool) -> None:
    async with asyncio.timeout(LONG):
        with pytest.raises(TimeoutError):
            async with amap(same, limited(), limit=1) as results:
                async for _ in results:
                    await asyncio.sleep(SOON * 2 if slowly else 0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("slowly", [False, True], ids=["in a pull", "between two pulls"])
async def test_an_anyio_scope_in_it_ends_what_it_is_around(slowly: bool) -> None:
    async def scoped() -> AsyncIterator[int]:
        with anyio.move_on_after(SOON):
            while True:
                await asyncio.sleep(0)
                yield 1
        yield 2

    seen: list[int] = []
    async with asyncio.timeout(LONG), amap(same, scoped(), limit=1) as results:
        async for n, _ in results:
            seen.append(n)
            await asyncio.sleep(SOON * 2 if slowly else 0)
    assert seen == [1] * (len(seen) - 1) + [2]


async def test_an_anyio_task_group_in_it() -> None:
    async def grouped() -> AsyncIterator[int]:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, LONG)
            for n in range(5):
                yield n
            group.cancel_scope.cancel()

    async with amap(same, grouped(), limit=2) as results:
        assert sorted([n async for n, _ in results]) == list(range(5))


# -- how it ends -------------------------------------------------------------------------------------------------


async def test_a_source_that_swallows_its_cancel_is_closed() -> None:
    closed: list[str] = []

    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
            with contextlib.suppress(asyncio.CancelledError):
                await forever()
            yield 2
        finally:
            closed.append("closed")

    async with amap(same, stubborn(), limit=2) as results:
        assert await anext(results) == (1, 1)
        await ticks()
    assert closed == ["closed"]


async def test_a_source_that_ignores_its_close_is_said_to() -> None:
    async def ignores() -> AsyncIterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        async with amap(same, ignores(), limit=1) as results:
            await anext(results)


async def test_an_error_of_the_close_is_raised() -> None:
    async def breaks() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            raise Boom

    with pytest.raises(Boom):
        async with amap(same, breaks(), limit=1) as results:
            await anext(results)


async def test_an_iterator_that_is_no_generator() -> None:
    class Counts:
        def __init__(self) -> None:
            self.n = 0

        def __aiter__(self) -> "Counts":
            return self

        async def __anext__(self) -> int:
            if self.n == 3:
                raise StopAsyncIteration
            self.n += 1
            return self.n

    async with amap(same, Counts(), limit=2) as results:
        assert sorted([n async for n, _ in results]) == [1, 2, 3]
    async with amap(same, Counts(), limit=1) as results:
        await anext(results)


@pytest.mark.parametrize("after", range(25))
async def test_a_cancel_at_any_time_closes_it_and_is_raised(after: int) -> None:
    rows = Rows(50)

    @effect
    async def work() -> None:
        async with amap(same, rows.lazily(), limit=3) as results:
            async for _ in results:
                await asyncio.sleep(0)

    task = asyncio.create_task(work())
    await ticks(after)
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        await task
    assert rows.closed or not rows.tasks
    assert len(set(rows.tasks)) <= 1


async def test_a_cancel_does_not_cut_its_cleanup_short() -> None:
    log: list[str] = []
    closing = asyncio.Event()

    async def tidies() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closing.set()
            await asyncio.sleep(0.001)
            log.append("tidied")

    async def work() -> None:
        async with amap(same, tidies(), limit=1) as results:
            await anext(results)

    task = asyncio.create_task(work())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["tidied"]


def test_a_caller_that_is_thrown_away_throws_it_away() -> None:
    """Its loop is closed in the middle: nothing hangs, nothing complains."""
    rows = Rows(1000)

    async def work() -> None:
        async with amap(same, rows.lazily(), limit=2) as results:
            async for _ in results:
                await forever()

    loop = asyncio.new_event_loop()
    coroutine = work()
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0.001))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert rows.closed
