"""The types of `Runtime.provide`: a maker must give what its key, a type, names."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

__all__ = ["Maker", "TypeKey"]

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class BothGive(Protocol[S_co]):
    """A manager whose leaving gives what its entering does."""

    def __aenter__(self) -> Awaitable[S_co]: ...
    def __aexit__(self, kind: Any, error: Any, traceback: Any, /) -> Awaitable[S_co]: ...


#: The types of a maker of an `S`. The second is for mypy, and narrower: a manager that gives an `S` when left is one,
#: too. Of a choice of two that tell it different things mypy infers nothing, so the key alone says what `S` is.
#: Otherwise `S` is whatever the key and the maker have in common, at last `object`, and any maker passes.
Maker = Callable[..., AbstractAsyncContextManager[S]] | Callable[..., BothGive[S]]

#: True to mypy, which knows the name.
MYPY: Literal[False] = False

if MYPY:
    TypeKey = Callable[..., S]  # type: ignore[unreachable]
else:

    class TypeKey(Protocol[S]):
        """A class, abstract or a protocol too, with exactly itself as `S`, since a list is invariant.

        mypy does not find a metaclass's methods in a class.
        """

        def __subclasses__(self) -> list[type[S]]: ...
