"""`chunked`: the items of a source as lists."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from math import inf
from types import TracebackType
from typing import Generic, TypeVar, cast

from ..policy._given import shown
from ..policy._numbers import Seconds, count, seconds
from .lists import Lists, TimedLists
from .misused import AsyncBlockOnly, way_to_items

__all__ = ["chunked"]

A = TypeVar("A")


def chunked(
    source: AsyncIterable[A], size: int, *, within: Seconds | None = None
) -> AbstractAsyncContextManager[AsyncIterator[list[A]]]:
    """`async with chunked(rows, 100, within=1) as lists: async for some in lists:`

    A list goes out when it has `size` items or, with `within`, that many seconds after its first item. No item is read
    beyond the list that is being collected. The source's error comes after the items that were read before it. A pull
    that is cancelled leaves its items for the next one. Leaving the block closes a generator, its cleanup awaited.

    Without `within` the source is pulled by the task that takes the lists, with it by one task of its own.
    """
    count(size, "chunked", "size")
    time = None if within is None else seconds(within, "chunked", "within")
    if not isinstance(cast("object", source), AsyncIterable):
        raise TypeError(f"chunked() takes an asynchronous iterable, not {shown(source)}{way_to_items(source)}")
    return _Chunked(source, size, None if time == inf else time)


class _Chunked(AsyncBlockOnly, AbstractAsyncContextManager[AsyncIterator[list[A]]], Generic[A]):
    _block = "chunked(source, size) as lists"

    def __init__(self, source: AsyncIterable[A], size: int, within: float | None) -> None:
        self._source = source
        self._size = size
        self._within = within
        self._lists: Lists[A] | None = None

    async def __aenter__(self) -> AsyncIterator[list[A]]:
        if self._lists is not None:
            raise RuntimeError("a chunked is entered once: make another")
        items = aiter(self._source)
        self._lists = Lists(items, self._size) if self._within is None else TimedLists(items, self._size, self._within)
        return self._lists

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._lists is not None
        await self._lists.aclose()
