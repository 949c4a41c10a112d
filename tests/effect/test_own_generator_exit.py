"""A GeneratorExit that the user's code raises by itself is its error: only that of a close allows no answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import amap, batch, chunked


class Source:
    """Gives `items` numbers, and raises; with `waits` after a turn of the loop each."""

    def __init__(self, items: int, waits: bool) -> None:
        self.items = items
        self.waits = waits

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if self.waits:
            await asyncio.sleep(0)
        if not self.items:
            raise GeneratorExit("its own")
        self.items -= 1
        return self.items


async def lists(source: Source) -> None:
    async with chunked(source, 5, within=30) as found:
        async for _ in found:
            pass


async def calls(source: Source) -> None:
    async with amap(same, source, limit=1) as results:
        async for _ in results:
            pass


async def same(item: int) -> int:
    return item


async def batched(source: Source) -> None:
    @batch(10)
    async def load(items: list[int]) -> list[Any]:
        return [[each async for each in source] for _ in items]

    await load(1)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("items", [0, 1])
@pytest.mark.parametrize("run", [lists, calls, batched])
async def test_it_is_raised(run: Callable[[Source], Awaitable[None]], items: int, waits: bool) -> None:
    task = asyncio.ensure_future(run(Source(items, waits)))
    await asyncio.wait([task], timeout=5)
    with pytest.raises(GeneratorExit, match="its own"):
        task.result()
