"""`stream`: async generator functions whose calls are values."""

from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from .._native import Stream, StreamFunction, own_name
from ..policy._base import D, D_co, Policy, plan
from .effect import decorator
from .kinds import check_stream
from .need import filled

__all__ = ["StreamDecorator", "own_stream", "stream"]

P = ParamSpec("P")
T = TypeVar("T")


class StreamDecorator(Protocol[D_co]):
    """`stream(...)` with its policies, before it has its function."""

    def __call__(self, fn: Callable[P, AsyncIterator[T]], /) -> Callable[P, Stream[T | D_co]]: ...


@overload
def stream(fn: Callable[P, AsyncIterator[T]], /) -> Callable[P, Stream[T]]: ...
@overload
def stream(*policies: Policy[D], name: str | None = None) -> StreamDecorator[D]: ...
def stream(*policies: Any, name: str | None = None) -> Any:
    """Makes an async generator function give streams, under `policies`, outermost first. Bare, it has no policies.

    `async with tokens(prompt) as out: async for token in out: ...` runs it: the work begins with the first pull, and
    leaving the block ends it, its cleanup awaited. Policies that try again act until the first item is out.

    `name` is what errors, statistics and reports call it; by default the function's own.
    """
    return decorator("stream", policies, name, check_stream, _make)


def own_stream(fn: Callable[P, AsyncIterator[T]], name: str) -> Callable[P, Stream[T]]:
    """A stream of the package's own: statistics list its name, beside however many others."""
    own_name(name)
    return stream(name=name)(fn)


def _make(fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str) -> Callable[..., Any]:
    return cast("Callable[..., Any]", StreamFunction(filled(fn, name), plan(policies, name, fn, streams=True)))
