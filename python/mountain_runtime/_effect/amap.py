"""`amap`: a function over many items, so many at a time."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, cast

from .._native import StreamFunction
from ..errors import ConfigError
from ..policy._base import name_of
from ..policy._functions import takes_one
from ..policy._given import shown
from ..policy._numbers import count
from ..policy._rungs import made_function
from .misused import way_to_items
from .results import Results
from .work import Work

__all__ = ["amap"]

A = TypeVar("A")
T = TypeVar("T")


def amap(
    fn: Callable[[A], Awaitable[T]],
    items: Iterable[A] | AsyncIterable[A] | Work[A],
    *,
    limit: int,
    ordered: bool = False,
) -> AbstractAsyncContextManager[AsyncIterator[tuple[A, T]]]:
    """`async with amap(fn, items, limit=8) as results: async for item, result in results:`

    Results come as they are ready, or with `ordered` in the order of the items. Items are pulled only as they are
    needed: at most `limit` are in flight or ready at a time. Items that grow meanwhile are a `Work`. The first failure
    cancels what is in flight, waits for its cleanup, and is raised after the results that were ready before it. Leaving
    the block early cancels and waits, and closes a generator of items. While the runtime shuts down no more items are
    pulled: what was in flight still comes, then ShuttingDown is raised.
    """
    count(limit, "amap", "limit")
    if not callable(cast("object", fn)):
        raise ConfigError(f"amap({shown(fn)}, ...): must be a function that gives an effect of one item")
    if isinstance(made_function(fn), StreamFunction):
        way = "read it in a function under @effect, and give that"
        raise ConfigError(f"amap({name_of(fn)}, ...): gives a stream for each item, and not one result: {way}")
    if not takes_one(fn):
        call = "..." if name_of(fn) == "<lambda>" else f"{name_of(fn)}(...)"
        raise ConfigError(f"amap({name_of(fn)}, ...): is called with one item: write lambda item: {call}")
    if isinstance(items, Work):
        return Results(fn, items, None, None, limit, ordered)
    if isinstance(items, AsyncIterable):
        return Results(fn, items, None, aiter(items), limit, ordered)
    if not isinstance(cast("object", items), Iterable) and not hasattr(items, "__getitem__"):
        raise TypeError(f"amap() takes items, an iterable or asynchronous one, not {shown(items)}{way_to_items(items)}")
    return Results(fn, items, iter(items), None, limit, ordered)
