"""The rungs of a ladder: fallbacks that are functions of effects or streams, called with the arguments of the call."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

from .._native import EffectFunction, Stream, StreamFunction, check_call
from ..errors import ConfigError
from ._arguments import Injected
from ._given import shown

__all__ = ["check_rung", "made_function", "unwrapped", "way_to_stream"]

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def unwrapped(to: Any) -> Any:
    """The function of it: in its class's body a static or class method is an object around its function."""
    return cast("Any", to).__func__ if isinstance(to, (staticmethod, classmethod)) else to


def made_function(to: Any) -> "EffectFunction[..., Any] | StreamFunction[..., Any] | None":
    """The function of effects or streams that it is, or that it is a method or a partial of."""
    while True:
        if isinstance(to, (EffectFunction, StreamFunction)):
            return cast("EffectFunction[..., Any]", to)
        if inspect.ismethod(to):
            to = to.__func__
        elif isinstance(to, functools.partial):
            to = cast("Any", to.func)
        else:
            return None


def way_to_stream(given: Any, policy: object) -> str | None:
    """How `policy` goes around the streams that `given` makes; None if it is no function of streams, nor a stream."""
    if isinstance(given, Stream) or isinstance(made_function(given), StreamFunction):
        return f"{shown(given)} gives many: write {_called(given)}(...).under({policy!r})"
    if inspect.isasyncgenfunction(given):
        return f"{shown(given)} gives many: write stream({policy!r})({shown(given)})(...)"
    return None


def _called(given: Any) -> str:
    made = made_function(given)
    return str(given.__name__) if made is None else made.plan.name


def check_rung(
    to: Callable[..., Any],
    policy: object,
    function: Any,
    name: str,
    given: tuple[Any, ...] | None,
    streams: bool,
) -> None:
    """A ConfigError if some call of `function` has arguments that `to` does not take.

    `given` are the arguments of a native call, which has no function; with `streams` the function gives a stream.
    """
    if not streams and isinstance(made_function(to), StreamFunction):
        raise ConfigError(
            f"{policy!r} gives a stream, and {name} one value: put it on a stream, or collect the items in an effect",
            effect=name,
        )
    if given is not None:
        try:
            check_call(to, given, None)
        except TypeError as error:
            what = ", ".join(shown(each) for each in given)
            raise ConfigError(
                f"{policy!r} is called with the arguments of the call, {name}({what}): {error}. {_WAY}", effect=name
            ) from None
        return
    if function is None:
        raise ConfigError(
            f"{policy!r} is called with the arguments of the call: '{name}' is made of other effects and has none. "
            f"Put it on those, or write a function of the error: lambda error: {shown(to)}(...)",
            effect=name,
        )
    calls, takes = _signature(function), _signature(to)
    if calls is None or takes is None:
        return
    parameters = _passed(calls)
    for count, names in _calls(parameters):
        try:
            takes.bind(*[None] * count, **dict.fromkeys(names))
        except TypeError:
            bare = inspect.Signature([each.replace(annotation=each.empty) for each in parameters])
            call = ", ".join([each.name for each in parameters[:count]] + [f"{each}=..." for each in names])
            raise ConfigError(
                f"{policy!r} is called with the arguments of the call, {name}{bare}, and does not take ({call}). "
                f"{_WAY}",
                effect=name,
            ) from None


_WAY = "Give it the same parameters, or write a function of the error: lambda error: ..."


def _passed(calls: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters of which the rung is told: no services, and what comes after one by name."""
    found: list[inspect.Parameter] = []
    by_name = False
    for each in calls.parameters.values():
        if isinstance(each.default, Injected):
            by_name = True
        elif by_name and each.kind is each.POSITIONAL_OR_KEYWORD:
            found.append(each.replace(kind=each.KEYWORD_ONLY))
        else:
            found.append(each)
    return found


def _calls(parameters: list[inspect.Parameter]) -> Iterator[tuple[int, list[str]]]:
    """The kinds of calls that there are, each as the arguments by position and the names of the others."""
    if any(each.kind in _STARS for each in parameters):
        return  # more than can be tried
    positional = [each for each in parameters if each.kind in _BY_POSITION]
    named = [each for each in parameters if each.kind not in _BY_POSITION]
    least = sum(each.default is each.empty for each in positional)
    required = [each.name for each in named if each.default is each.empty]
    for count in range(least, len(positional) + 1):
        yield count, required
    for each in positional[least + 1 :]:  # after one that was left out
        if each.kind is each.POSITIONAL_OR_KEYWORD:
            yield least, [each.name, *required]
    yield least, [each.name for each in named]


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
