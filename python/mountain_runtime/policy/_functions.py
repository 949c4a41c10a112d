"""Whether a function that a setting names can be called as the engine calls it. An unreadable signature passes."""

import inspect
from collections.abc import Callable, Hashable
from typing import Any, cast

from .._native import check_call
from ..errors import ConfigError
from ._arguments import Injected
from ._given import shown

__all__ = ["check_arguments", "check_function", "takes_none", "takes_one"]

_FIXED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether `function(argument)` is a call that can be made."""
    return _takes(function, (None,))


def takes_none(function: Callable[..., Any]) -> bool:
    """Whether `function()` is a call that can be made."""
    return _takes(function, ())


def _takes(function: Callable[..., Any], args: tuple[None, ...]) -> bool:
    """By its code: a signature that a decorator copied says nothing of what the decorator's function takes."""
    try:
        check_call(function, args, None)
    except TypeError:
        return False
    return True


def check_function(given: Callable[..., Hashable] | Callable[..., float] | None, owner: str, setting: str) -> None:
    """A ConfigError if `given` is not a plain function of a call's arguments."""
    what = cast("Any", given)
    if what is None:
        return
    if not callable(what) or inspect.iscoroutinefunction(what):
        way = f", such as lambda {what}: {what}" if isinstance(what, str) and what.isidentifier() else ""
        raise ConfigError(f"{owner}({setting}={shown(what)}): must be a plain function of the call's arguments{way}")


def check_arguments(given: Callable[..., Any], setting: str, policy: object, function: Any, name: str) -> None:
    """A ConfigError if no call of `function` has arguments that `given`, the policy's `setting`, takes.

    Tried are calls with as many arguments by position as the function takes, from the required ones to all.
    """
    if not callable(function) or (calls := _signature(function)) is None or (takes := _signature(given)) is None:
        return
    parameters = [each for each in calls.parameters.values() if not isinstance(each.default, Injected)]
    calls = calls.replace(parameters=parameters)
    if any(each.kind not in _FIXED for each in parameters):
        return  # it can be called in more ways than can be tried
    required = [each for each in parameters if each.default is each.empty]
    named_required = [each.name for each in required if each.kind is each.KEYWORD_ONLY]
    named = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for positional in range(len(required) - len(named_required), len(parameters) - len(named) + 1):
        for names in (named_required, named):
            if _binds(takes, (None,) * positional, dict.fromkeys(names)):
                return
    raise ConfigError(
        f"{policy!r}: {setting}= is called with the arguments of the call, {name}{_written(calls)}, and takes "
        f"{_written(takes)}. Give it the same parameters",
        effect=name,
    )


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _binds(signature: inspect.Signature, args: tuple[None, ...], kwargs: dict[str, None]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _written(signature: inspect.Signature) -> str:
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(bare))
