"""A few pages with links, and a crawl of them."""

from collections.abc import Awaitable, Callable
from typing import Any

from mountain_runtime import Work, amap

from .support import ticks

#: Links of pages, with two circles; page 9 has no way to it.
LINKS = {0: [1, 2, 3], 1: [0, 4], 2: [2, 1], 3: [5, 6, 7], 4: [0, 8], 8: [3], 9: [0]}
REACHED = [0, 1, 2, 3, 4, 5, 6, 7, 8]


async def links(page: int) -> list[int]:
    await ticks(page % 4)
    return LINKS.get(page, [])


async def crawled(
    fn: Callable[[int], Awaitable[Any]], work: Work[int], limit: int = 3, *, ordered: bool = False
) -> list[int]:
    """The items in the order of their results, each of which may be a list of items to add."""
    seen = []
    async with amap(fn, work, limit=limit, ordered=ordered) as results:
        async for item, found in results:
            seen.append(item)
            await ticks(item % 3)
            for link in found or ():
                work.add(link)
    return seen
