"""Two pulls of one stream at a time, and a close from another event loop while one is under way."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import stream


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


async def test_a_pull_that_is_cancelled_before_it_begins_takes_nothing() -> None:
    async with later() as items:
        dropped = asyncio.ensure_future(anext(items))
        dropped.cancel()
        await asyncio.wait([dropped])
        assert [item async for item in items] == [0, 1, 2, 3, 4]


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
