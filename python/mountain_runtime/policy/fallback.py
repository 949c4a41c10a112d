"""Fallback: something that stands in when a call fails."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, overload

from .._native import Effect, Layer, Stream
from ..errors import ConfigError
from ._base import D_co, Policy, name_of
from ._errors import as_tuple, check_classes, is_error, named
from ._functions import takes_one
from ._given import is_call, not_a_function, shown
from ._part import Part
from ._rungs import made_function, unwrapped

__all__ = ["Fallback"]


@dataclass(frozen=True, slots=True, repr=False)
class Fallback(Policy[D_co]):
    """When what it encloses fails with what `on` names, `to` gives the result.

    A function that `effect`, `blocking` or `stream` made is called with the arguments of the call, and must take them
    all. Any other function is called with the error, and gives a value, or an awaitable of one; around a stream also
    another stream.

    Several make a ladder: what one of them raises is for the next one outside it. The time that ran out of a Timeout
    inside it can be named (`errors.TimedOut`), as can `errors.Rejected`; a Timeout around it is final. A call that
    ended so is counted as degraded, under the name of what stood in.
    """

    to: Callable[..., D_co | Awaitable[D_co]]
    on: type[Exception] | tuple[type[Exception], ...]

    if TYPE_CHECKING:  # of an awaitable and a value mypy infers nothing; an awaitable alone says what it gives

        @overload
        def __init__(
            self, to: Callable[[Exception], Awaitable[D_co]], on: type[Exception] | tuple[type[Exception], ...]
        ) -> None: ...
        @overload
        def __init__(
            self, to: Callable[[Exception], D_co | Awaitable[D_co]], on: type[Exception] | tuple[type[Exception], ...]
        ) -> None: ...
        @overload
        def __init__(
            self, to: Callable[..., Effect[D_co] | Stream[D_co]], on: type[Exception] | tuple[type[Exception], ...]
        ) -> None: ...
        def __init__(self, to: Any, on: Any) -> None: ...

    def __post_init__(self) -> None:
        given, on = cast("Any", self.to), cast("Any", self.on)
        if is_error(given) and callable(on) and not is_error(on):
            way = f"write Fallback({shown(on)}, on={named(given)})"
            raise ConfigError(f"Fallback({named(given)}, on={shown(on)}): the function comes first: {way}")
        check_classes(self.on, "Fallback")
        if self._rung() is not None:
            return
        if is_call(given):
            raise ConfigError(not_a_function(given, "Fallback", ", on=..."))
        if inspect.isasyncgenfunction(given):
            raise ConfigError(
                f"Fallback(to={shown(given)}): put the async generator function {shown(given)} under @stream"
            )
        if not callable(given) or inspect.isgeneratorfunction(given):
            what = shown(given)
            way = f"lambda error: {what}" if isinstance(given, (str, int, float, type(None))) else "lambda error: []"
            raise ConfigError(f"Fallback(to={what}): must be a function of the error, such as {way}")
        if not takes_one(given):
            raise ConfigError(
                f"Fallback(to={named(given)}): is called with the error: write lambda error: ..., or put it under "
                "@effect or @blocking, to have it called with the arguments of the call"
            )

    def __repr__(self) -> str:
        return f"Fallback({self._name()}, on={named(self.on)})"

    def _name(self) -> str:
        """The name under which its answers are counted: that of the effect, or of the function."""
        made = made_function(unwrapped(self.to))
        return made.plan.name if made is not None else name_of(self.to)

    def _rung(self) -> Callable[..., Any] | None:
        to = unwrapped(self.to)
        return None if made_function(to) is None else to

    def _part(self) -> Part:
        return Part(
            kind="fallback",
            text=repr(self),
            does=f"stands in for {named(self.on)}",
            on=as_tuple(self.on),
            beyond="what a fallback takes",
        )

    def _layer(self) -> Layer:
        return Layer.fallback(unwrapped(self.to), self._name(), self._rung() is not None, self.on)
