"""Errors for objects in the place of an effect or of an `async with`; each says what to write instead."""

import inspect
from asyncio import Future
from collections.abc import Awaitable, Coroutine, Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from .._native import Effect, EffectFunction, Handle, Stream, StreamFunction
from ..policy._base import name_of
from .work import Work

__all__ = ["AsyncBlock", "AsyncBlockOnly", "instead", "not_an_effect", "not_one_value", "way_to_items"]


def not_an_effect(owner: str, given: object) -> TypeError:
    """The error of `owner`, as `race()`, which takes effects and got `given`. A coroutine is closed."""
    several = "*effects" if owner in ("gather()", "race()") else "effect"
    return TypeError(f"{owner} takes effects, {instead(given, f'{owner[:-1]}{several})')}")


def instead(given: object, one_by_one: str) -> str:
    """Describes `given`, which is no effect, and what to write; of several `one_by_one`. A coroutine is closed."""
    what = cast("Any", given)
    kind = type(what).__name__
    function = what.__func__ if isinstance(what, MethodType) else what
    if isinstance(function, (Stream, StreamFunction)):
        name = function.__name__ if isinstance(function, Stream) else name_of(what)
        return f"and {name} gives many values: open it in a function under @effect, `async with {name}(...) as items:`"
    if isinstance(function, EffectFunction):
        name = name_of(what)
        return f"and {name} is a function of effects, which was not called: write {name}(...)"
    if isinstance(what, Coroutine) and not isinstance(what, Effect):
        what.close()
        return f"not the coroutine {name_of(given)}(): put @effect on its function"
    if isinstance(what, (Future, Handle)):
        return f"not a {kind}, which runs already: await it as it is"
    if inspect.isroutine(given):
        return f"not the function {name_of(given)}: put @effect on it, or @blocking if it is not async, and call it"
    if isinstance(what, Iterable) and not isinstance(what, (str, bytes)):
        each = "" if "*" in one_by_one else " for each"
        return f"not a {kind}: write {one_by_one}{each}"
    if isinstance(given, type):
        kind = f"the class {given.__qualname__}"
    return f"not {kind}: an effect is what a function under @effect or @blocking gives when it is called"


def not_one_value(owner: str, stream: "Stream[Any]") -> TypeError:
    """The error of `owner`, which calls a function for one value and was given a stream."""
    return TypeError(f"{owner} needs a function that gives an effect, {instead(stream, '')}")


def way_to_items(given: object) -> str:
    """The end of a message about `given`, which is no iterable: how to get one of it, where that is known."""
    if isinstance(given, Awaitable):
        return ": await it first"
    if given is Work:
        return ": call it, Work(...)"
    return f": call it, {name_of(given)}()" if inspect.isroutine(given) else ""


class AsyncBlock:
    """An `async with` that says so where `with` is written."""

    __slots__ = ()

    #: As it is written: `deadline(5)`.
    _block: ClassVar[str]

    if not TYPE_CHECKING:  # type checkers say by themselves that it is no plain block

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"{self._block.partition(' as ')[0]} is an asynchronous block: write `async with {self._block}:`"
            )

        def __exit__(self, *_: object) -> None: ...


class AsyncBlockOnly(AsyncBlock):
    """The same where `await` is written."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            self.__enter__()
