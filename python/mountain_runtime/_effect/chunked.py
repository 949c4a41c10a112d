"""`chunked`: the items of a source as a stream of lists."""

from collections.abc import AsyncIterable, Iterable
from functools import cache
from math import inf
from typing import Any, TypeVar, cast

from .._native import Stream, StreamFunction, own_name
from ..policy._base import plan
from ..policy._given import shown
from ..policy._numbers import Seconds, count, seconds
from .lists import Lists, TimedLists
from .misused import way_to_items
from .work import Work

__all__ = ["chunked"]

A = TypeVar("A")


def chunked(source: AsyncIterable[A] | Stream[A], size: int, *, within: Seconds | None = None) -> Stream[list[A]]:
    """`async with chunked(rows, 100, within=1) as lists: async for some in lists:`

    A list goes out when it has `size` items or, with `within`, that many seconds after its first item. No item is read
    beyond the list that is being collected. The source's error comes after the items that were read before it. A pull
    that is cancelled leaves its items for the next one. Leaving the block closes a generator or a stream, its cleanup
    awaited.

    Without `within` the source is pulled by the task that takes the lists, with it by one task of its own.
    """
    count(size, "chunked", "size")
    time = None if within is None else seconds(within, "chunked", "within")
    given = cast("object", source)
    if isinstance(given, (Work, StreamFunction)) or not isinstance(given, AsyncIterable):
        raise TypeError(f"chunked() takes an asynchronous iterable, not {shown(source)}{_way(source)}")
    return cast("Stream[list[A]]", _function()(source, size, within=None if time == inf else time))


def _way(given: object) -> str:
    if isinstance(given, Work):
        return ": give it to amap(), and the results to chunked()"
    if isinstance(given, Iterable):
        return ": of items that are at hand, itertools.batched or slices make lists"
    return way_to_items(given)


def _lists(source: AsyncIterable[Any], size: int, *, within: float | None) -> Lists[Any]:
    items = aiter(source)
    return Lists(items, size) if within is None else TimedLists(items, size, within)


@cache
def _function() -> "StreamFunction[..., list[Any]]":
    """Made as it is first used: statistics list a name from then on."""
    own_name("chunked")
    return StreamFunction(_lists, plan((), "chunked", _lists, streams=True))
