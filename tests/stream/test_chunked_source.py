"""The task in which a source of lists runs: its context, its limits of its own, and its end."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from mountain_runtime import chunked

from .sources import Boom, Source, forever, ticks

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])  # time can be virtual there only
SPAN: ContextVar[str] = ContextVar("span", default="none")
LONG = 30


async def test_the_readers_task_by_size_alone_and_one_task_with_a_time() -> None:
    for within, tasks in ((None, {asyncio.current_task()}), (LONG, None)):
        source = Source(7, 1)
        async with chunked(source, 3, within=within) as lists:
            async for _ in lists:
                await ticks(2)
        assert len(source.tasks) == 1
        if tasks is not None:
            assert source.tasks == tasks
        else:
            assert asyncio.current_task() not in source.tasks


async def test_no_task_and_no_timer_by_size_alone() -> None:
    async with chunked(Source(None, 1), 3) as lists:
        for _ in range(5):
            await anext(lists)
            assert len(asyncio.all_tasks()) == 1


async def test_a_context_variable_around_the_yield() -> None:
    async def rows() -> AsyncIterator[int]:
        token = SPAN.set("rows")
        try:
            for n in range(5):
                await asyncio.sleep(0)
                yield n
        finally:
            await asyncio.sleep(0)
            SPAN.reset(token)  # a ValueError in another context

    async def take(lists: AsyncIterator[list[int]]) -> list[int]:
        return await anext(lists)

    token = SPAN.set("reader")
    async with chunked(rows(), 2, within=LONG) as lists:
        assert await asyncio.create_task(take(lists)) == [0, 1]
        assert await asyncio.create_task(take(lists)) == [2, 3]
        assert SPAN.get() == "reader"
    SPAN.reset(token)


async def test_the_source_sees_the_context_of_the_first_pull() -> None:
    async def seen() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0)
            yield SPAN.get()

    async with chunked(seen(), 2, within=LONG) as lists:
        token = SPAN.set("first")
        assert await anext(lists) == ["first", "first"]
        SPAN.reset(token)
        assert await anext(lists) == ["first", "first"]


@virtual
@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("holds", [0, 20], ids=["in a pull", "while a full list waits"])
async def test_a_timeout_in_the_source_fires_there(holds: float) -> None:
    async def limited() -> AsyncIterator[int]:
        async with asyncio.timeout(4.5):
            for n in range(100):
                await asyncio.sleep(1)
                yield n

    seen: list[int] = []
    with pytest.raises(TimeoutError):
        async with chunked(limited(), 2, within=LONG) as lists:
            async for some in lists:
                seen += some
                await asyncio.sleep(holds)
    assert seen == [0, 1, 2, 3]


@virtual
@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("holds", [0, 20], ids=["in a pull", "while a full list waits"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_source_that_goes_on_after_its_timeout(holds: float, after: int) -> None:
    """Nothing that it gives then is lost, nor in a list of more than `size`."""

    async def scoped() -> AsyncIterator[int]:
        with anyio.move_on_after(4.5):
            for n in range(4):
                await asyncio.sleep(1)
                yield n
            await asyncio.sleep(LONG)
        for n in range(after):
            yield 10 + n

    seen: list[list[int]] = []
    async with chunked(scoped(), 2, within=LONG) as lists:
        async for some in lists:
            seen.append(some)
            await asyncio.sleep(holds)
    assert [item for some in seen for item in some] == [0, 1, 2, 3, *range(10, 10 + after)]
    assert max(len(some) for some in seen) == 2


async def test_a_source_that_swallows_its_cancel_is_closed() -> None:
    closed: list[str] = []

    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
            with contextlib.suppress(asyncio.CancelledError):
                await forever()
            yield 2
            yield 3
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async with chunked(stubborn(), 1, within=LONG) as lists:
        assert await anext(lists) == [1]
        pull = asyncio.ensure_future(anext(lists))
        await ticks()
        pull.cancel()
        await ticks()
    assert closed == ["closed"]


@pytest.mark.parametrize("goes_on", [False, True])
async def test_leaving_while_the_source_handles_its_own_timeout(*, goes_on: bool) -> None:
    handling = asyncio.Event()

    async def handles() -> AsyncIterator[int]:
        try:
            async with asyncio.timeout(0.001):  # it passes while the second list waits to be taken
                yield 1
                yield 2
        except TimeoutError:
            handling.set()
            if not goes_on:
                await forever()
            with contextlib.suppress(asyncio.CancelledError):
                await forever()

    async with asyncio.timeout(LONG), chunked(handles(), 1, within=LONG) as lists:
        assert await anext(lists) == [1]
        await handling.wait()
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancel_of_an_iterator_that_is_no_generator() -> None:
    class Ones:
        task: "asyncio.Task[Any] | None" = None

        def __aiter__(self) -> "Ones":
            return self

        async def __anext__(self) -> int:
            self.task = asyncio.current_task()
            return 1

    source = Ones()
    async with chunked(source, 1, within=LONG) as lists:
        assert await anext(lists) == [1]
        await ticks()
        assert source.task is not None
        source.task.cancel("why")  # while the second list waits to be taken
        await ticks()
        assert await anext(lists) == [1]
        with pytest.raises(asyncio.CancelledError, match="why"):
            await anext(lists)


@pytest.mark.parametrize("error", [Boom, SystemExit])
async def test_an_error_of_the_cleanup_of_a_pull_is_raised(error: type[BaseException]) -> None:
    async def breaks() -> AsyncIterator[int]:
        try:
            yield 1
            await forever()
        finally:
            await ticks(1)
            raise error

    with pytest.raises(error):
        async with chunked(breaks(), 1, within=LONG) as lists:
            await anext(lists)
            await ticks()


async def test_a_cancel_does_not_cut_the_cleanup_short() -> None:
    log: list[str] = []
    closing = asyncio.Event()

    async def tidies() -> AsyncIterator[int]:
        try:
            yield 1
            await forever()
        finally:
            closing.set()
            await ticks(5)
            log.append("tidied")

    async def work() -> None:
        async with chunked(tidies(), 1, within=LONG) as lists:
            await anext(lists)

    task = asyncio.create_task(work())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["tidied"]


def test_a_reader_whose_loop_is_closed(
    new_loop: Callable[[], asyncio.AbstractEventLoop], complaints: list[str]
) -> None:
    """Nothing hangs, nothing complains, and the source is closed."""
    source = Source(None, 1)

    async def work() -> None:
        async with chunked(source, 2, within=LONG) as lists:
            async for _ in lists:
                await forever()

    loop = new_loop()
    task = loop.create_task(work())
    for _ in range(10):
        loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    del task
    gc.collect()
    assert (source.closed, complaints) == (1, [])


def test_a_reader_that_is_thrown_away(complaints: list[str]) -> None:
    """Its loop is closed in the middle, and its coroutine after that."""

    async def work() -> None:
        async with chunked(Source(None, 1), 2, within=LONG) as lists:
            async for _ in lists:
                await ticks(2)
                await forever()

    for turns in range(8):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it says that tasks are dropped, which they are
        coroutine = work()
        task = loop.create_task(coroutine)
        for _ in range(turns):
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        coroutine.close()
        del task, coroutine
        gc.collect()
    assert complaints == []
