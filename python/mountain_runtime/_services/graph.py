"""The graph of services, before anything starts: what each needs, whether that can work, and how deep it is."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncContextDecorator, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, cast

from .._effect.need import Key, check_key, needs, shown
from ..errors import ConfigError
from ..policy._functions import takes_none
from ..policy._given import shown as _shown
from ..policy._numbers import Seconds, seconds

__all__ = ["Make", "Provider", "check", "depths", "provider"]

Make = Callable[..., AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Provider:
    """How a service is made, and how long it may take, in seconds."""

    key: Any
    make: Make
    fallback: Make | None
    start_timeout: float
    stop_timeout: float
    #: The keys that `make` needs, by its parameters; and those of the fallback.
    needs: Mapping[str, Any] = field(init=False)
    fallback_needs: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", needs(self.make))
        object.__setattr__(self, "fallback_needs", {} if self.fallback is None else needs(self.fallback))

    @property
    def name(self) -> str:
        """The key as messages, reports and health show it."""
        return shown(self.key)

    def edges(self) -> list[Any]:
        """The keys of services that are up before it starts, and stop after it."""
        return list(dict.fromkeys([*self.needs.values(), *self.fallback_needs.values()]))


def provider(
    key: Any, make: Make, fallback: Make | None, start_timeout: Seconds | None, stop_timeout: Seconds | None
) -> Provider:
    """A Provider of what `Runtime.provide` was given; a ConfigError for what cannot work."""
    if inspect.isroutine(key) and isinstance(make, (type, Key)):
        raise ConfigError(
            f"Runtime.provide({shown(key)}, {shown(make)}): the type or Key comes first: write "
            f"provide({shown(make)}, {shown(key)})"
        )
    check_key(key, "Runtime.provide")
    owner = f"Runtime.provide({shown(key)})"
    start, stop = (
        inf if given is None else seconds(given, owner, name)
        for name, given in (("start_timeout", start_timeout), ("stop_timeout", stop_timeout))
    )
    _check_make(make, owner)
    if fallback is not None:
        _check_make(fallback, f"{owner}: fallback")
    return Provider(key, make, fallback, start, stop)


def _check_make(make: Make, owner: str) -> None:
    given = cast("Any", make)
    if inspect.isasyncgenfunction(given):
        raise ConfigError(
            f"{owner}: {shown(given)} is an async generator function: decorate it with contextlib.asynccontextmanager"
        )
    code = getattr(given, "__code__", None)
    if inspect.isgeneratorfunction(given) or code is _PLAIN:
        raise ConfigError(f"{owner}: {_shown(given)} is a plain generator, and a service an asynchronous one: {_WAY}")
    if _is_class(given):
        if not (hasattr(given, "__aenter__") and hasattr(given, "__aexit__")) and _makes_itself(given):
            raise ConfigError(
                f"{owner}: the class {shown(given)} has no __aenter__ and __aexit__: {_WAY} that yields "
                f"{shown(given)}(...)"
            )
    elif hasattr(cast("Any", type(given)), "__aenter__") and (
        not callable(given) or isinstance(given, AsyncContextDecorator)
    ):  # such a decorator can be called, with a function; a mock, too, and makes what it is told to
        raise ConfigError(
            f"{owner}: {_shown(given)} is an async context manager already: give what makes it, its class or function, "
            "which the runtime calls when it starts"
        )
    elif not callable(given) or inspect.iscoroutinefunction(given):
        yields = ", which yields" if inspect.iscoroutinefunction(given) else ""
        raise ConfigError(
            f"{owner}: {_shown(given)} must be a function that gives an async context manager: {_WAY}{yields}"
        )
    if not takes_none(cast("Any", make).__wrapped__ if code is _ASYNC else given):
        raise ConfigError(
            f"{owner}: {shown(given)} is called with what it needs, and has parameters besides: give them a default, "
            "need(...), or write a lambda"
        )


#: The code of what contextlib's decorators make, which takes any arguments and passes them on.
_PLAIN: object = cast("Any", contextmanager)(iter).__code__
_ASYNC: object = cast("Any", asynccontextmanager)(aiter).__code__
_WAY = "write an async generator function under contextlib.asynccontextmanager"


def _is_class(given: object) -> bool:
    return isinstance(given, type)


def _makes_itself(given: Any) -> bool:
    """Whether a call of the class gives an instance of it."""
    return type(given).__call__ is type.__call__ and given.__new__ is object.__new__


def check(providers: Mapping[Any, Provider]) -> None:
    """Raises a ConfigError that prints the path to a need that is not provided, or around a circle."""
    known: set[Any] = set()
    for key in providers:
        if key not in known:
            _visit(key, providers, known)


def _visit(key: Any, providers: Mapping[Any, Provider], known: set[Any]) -> None:
    """Checks what `key` needs, depth first and without recursion, since a chain may be long."""
    stack, path, on_path = [(key, iter(providers[key].edges()))], [key], {key}
    while stack:
        at, left = stack[-1]
        following = next(left, None)
        if following is None:
            stack.pop()
            path.pop()
            on_path.discard(at)
            known.add(at)
            continue
        if following in on_path:
            circle = [*path[path.index(following) :], following]
            raise ConfigError(f"services need each other in a circle: {_path(circle)}. Nothing was started")
        if following not in providers:
            raise ConfigError(
                f"{shown(at)} needs {shown(following)}, which is not provided: {_path([*path, following])}. "
                f"Nothing was started; add .provide({shown(following)}, ...)"
            )
        if following not in known:
            stack.append((following, iter(providers[following].edges())))
            path.append(following)
            on_path.add(following)


def _path(keys: list[Any]) -> str:
    return " -> ".join(shown(key) for key in keys)


def depths(providers: Mapping[Any, Provider]) -> dict[Any, int]:
    """The number of services that stop one after another from each on, itself included: its longest chain of needs.

    The graph has no circles.
    """
    found: dict[Any, int] = {}
    for start in providers:
        stack = [start]
        while stack:
            key = stack[-1]
            edges = providers[key].edges()
            unknown = [each for each in edges if each not in found]
            if unknown and key not in found:
                stack += unknown
                continue
            found[key] = 1 + max((found[each] for each in edges), default=0)
            stack.pop()
    return found
