"""The arguments of a call as its function sees them, so that `f(1)` and `f(x=1)` are one call to a policy's `key=`."""

import contextlib
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, cast
from weakref import WeakKeyDictionary

from ..errors import ConfigError

__all__ = ["Injected", "arity", "before_services", "bound", "check_name", "is_method", "unhashable", "whole"]


class Injected:
    """A parameter's default in whose place the function gets a service: `key=` and `cost=` see no such argument."""

    __slots__ = ()


def bound(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """The arguments by position as far as the signature allows, without services and what was not given."""
    if not callable(function):
        return args, kwargs
    try:
        signature = _signature(function)
    except ValueError:  # a builtin that does not say
        return args, kwargs
    given = signature.bind(*args, **(kwargs or {}))
    for name in [name for name in given.arguments if isinstance(signature.parameters[name].default, Injected)]:
        del given.arguments[name]
    return given.args, given.kwargs or None


#: Of functions, which it must not keep alive: what they enclose, a bound method's `self` too, would live on with them.
_signatures: "WeakKeyDictionary[object, inspect.Signature]" = WeakKeyDictionary()


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if not inspect.isfunction(function):
        return inspect.signature(function)
    found = _signatures.get(function)
    if found is None:
        if len(_signatures) >= 1024:  # a default may lead back to its function, which then stays
            _signatures.clear()
        found = inspect.signature(function)
        # Annotations are not looked at, and a class among them leads back to the function's module.
        bare = [each.replace(annotation=each.empty) for each in found.parameters.values()]
        found = _signatures[function] = found.replace(parameters=bare, return_annotation=found.empty)
    return found


class _Itself:
    """An object that is equal to itself only: a method's `self` in a key, or a service that a call was passed."""

    __slots__ = ("_it",)

    def __init__(self, it: object) -> None:
        self._it = it

    def __hash__(self) -> int:
        return id(self._it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other._it is self._it


def whole(function: Any, method: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> tuple[Hashable, ...]:
    """All arguments of a call, with those that were not given, so that equal calls are equal tuples."""
    values: list[Any]
    if callable(function):
        try:
            signature = _signature(function)
            call = signature.bind(*args, **(kwargs or {}))
        except ValueError:  # a builtin that does not say
            values = [*args, *_by_name(kwargs or {})]
        else:
            for name in call.arguments:
                if isinstance(signature.parameters[name].default, Injected):
                    call.arguments[name] = _Itself(call.arguments[name])
            call.apply_defaults()
            values = [*call.args, *_by_name(call.kwargs)]
    else:
        values = list(args)
    if method and values:
        values[0] = _Itself(values[0])
    return tuple(values)


def _by_name(kwargs: Mapping[str, Any]) -> list[Any]:
    """Marks arguments that are given by name only."""
    return [_NAMES, *sorted(kwargs.items())] if kwargs else []


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
#: Stands before the arguments by name.
_NAMES = object()


def unhashable(
    name: str, function: Any, method: bool, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> TypeError:
    """The error of a cached call whose arguments are no key; it names the first of them."""
    names, rest, services = [], "", set[str]()
    if callable(function):
        with contextlib.suppress(ValueError):
            parameters = _signature(function).parameters.values()
            names = [each.name for each in parameters if each.kind in _BY_POSITION]
            rest = next((each.name for each in parameters if each.kind == each.VAR_POSITIONAL), "")
            services = {each.name for each in parameters if isinstance(each.default, Injected)}
    given = [*zip([*names, *(rest for _ in args)], args, strict=False), *(kwargs or {}).items()]
    for place, (argument, value) in enumerate(given):
        if argument in services:
            continue  # counts by identity
        try:
            hash(_Itself(value) if method and not place else value)
        except TypeError:
            what = f"its argument '{argument}'" if argument else f"its argument number {place + 1}"
            return TypeError(
                f"effect '{name}' is cached by its arguments, and {what} is a {type(value).__name__}, which has no "
                "hash: give the Cache a key=, or pass something hashable"
            )
    return TypeError(f"effect '{name}' is cached by a key that has no hash: make its key= give something hashable")


def is_method(function: Any) -> bool:
    """Whether it was defined in a class, and takes a `self`."""
    qualname = str(getattr(function, "__qualname__", "")).rpartition("<locals>.")[2]
    return "." in qualname and inspect.isfunction(function) and [*_signature(function).parameters][:1] == ["self"]


def _parameters(function: Any) -> list[inspect.Parameter] | None:
    """None where it cannot be known."""
    if not callable(function):
        return None
    try:
        return list(_signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def arity(function: Any) -> int | None:
    """How many arguments a function without defaults and stars takes: with so many by position a call is whole."""
    parameters = _parameters(function)
    if parameters is None or any(
        each.kind not in _BY_POSITION or each.default is not each.empty for each in parameters
    ):
        return None
    return len(parameters)


def before_services(function: Any) -> int | None:
    """How many of its parameters by position come before the first that gets a service; None if none gets one."""
    by_position = 0
    for each in _parameters(function) or ():
        if isinstance(each.default, Injected):
            return by_position
        by_position += each.kind in _BY_POSITION
    return None


def check_name(given: str | None, owner: str) -> None:
    """A ConfigError if `given` is no name by which something can be found in messages and statistics."""
    what = cast("object", given)
    if what is not None and (not isinstance(what, str) or not what):
        raise ConfigError(f"{owner}(name={what!r}): must be a name")
