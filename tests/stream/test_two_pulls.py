"""Two pulls of one stream at a time, and a close from another event loop while one is under way."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import stream

#: A task of an eager loop has begun where it is made.
begins_later = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop", "debug"])


@stream
async def at_once() -> AsyncIterator[int]:
    for number in range(5):
        yield number


@stream
async def later() -> AsyncIterator[int]:
    for number in range(5):
        await asyncio.sleep(0)
        yield number


async def test_two_pulls_that_are_asked_for_at_once_are_two() -> None:
    """`gather` takes two awaits of one object for one."""
    async with at_once() as items:
        assert list(await asyncio.gather(anext(items), anext(items), anext(items))) == [0, 1, 2]
        assert [item async for item in items] == [3, 4]
    async with later() as items:
        first, second = await asyncio.gather(anext(items), anext(items), return_exceptions=True)
        assert first == 0
        assert isinstance(second, RuntimeError)
        assert "one task pulls at a time" in str(second)
        assert [item async for item in items] == [1, 2, 3, 4]


async def test_the_last_pulls_of_several_are_told_the_end() -> None:
    async with at_once() as items:
        asked = [anext(items) for _ in range(7)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[:5] == [0, 1, 2, 3, 4]
    assert all(isinstance(end, StopAsyncIteration) for end in found[5:])


@begins_later
async def test_a_pull_that_is_cancelled_before_it_begins_takes_nothing() -> None:
    async with later() as items:
        dropped = asyncio.ensure_future(anext(items))
        dropped.cancel()
        await asyncio.wait([dropped])
        assert [item async for item in items] == [0, 1, 2, 3, 4]


@begins_later
async def test_a_pull_that_is_cancelled_before_it_begins_cancels_no_other() -> None:
    """Its cancel is thrown into what another task pulls by, which is the same object."""
    async with later() as items:
        pull = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        dropped = asyncio.ensure_future(anext(items))
        dropped.cancel()
        await asyncio.wait([dropped])
        assert dropped.cancelled()
        assert await pull == 0
        asked: object = anext(items)
        assert asked is items, "no pull is left that has not begun"
        assert [item async for item in items] == [1, 2, 3, 4]


@begins_later
async def test_a_refused_pull_is_forgotten() -> None:
    async with later() as items:
        pull = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one task pulls at a time"):
            await anext(items)
        assert await pull == 0
        asked: object = anext(items)
        assert asked is items
        assert [item async for item in items] == [1, 2, 3, 4]


def test_a_stream_that_is_opened_on_one_loop_and_pulled_on_another_is_closed_there() -> None:
    """The loop that a close must be on is the pull's."""
    waits = asyncio.Event()

    @stream
    async def source() -> AsyncIterator[int]:
        await waits.wait()
        yield 1

    opened = source()
    items = asyncio.run(opened.__aenter__())

    async def use() -> None:
        pull = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        close = asyncio.ensure_future(opened.__aexit__(None, None, None))
        await asyncio.sleep(0)
        waits.set()
        assert await asyncio.wait_for(pull, 10) == 1
        await asyncio.wait_for(close, 10)

    asyncio.run(use())


async def test_a_close_from_another_loop_during_a_pull_is_refused() -> None:
    """Such a close would wait for an end that no code can tell it there."""
    waits = asyncio.Event()

    @stream
    async def source() -> AsyncIterator[int]:
        await waits.wait()
        yield 1

    async with source() as items:
        pull = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        refused: list[BaseException] = []

        def elsewhere() -> None:
            async def close() -> None:
                await items.aclose()  # type: ignore[attr-defined]

            try:
                asyncio.run(asyncio.wait_for(close(), 10))
            except RuntimeError as error:
                refused.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)  # real: a thread with a loop of its own
        assert "is being pulled on another event loop" in str(refused[0])
        waits.set()
        assert await pull == 1
        with pytest.raises(StopAsyncIteration):
            await anext(items)
