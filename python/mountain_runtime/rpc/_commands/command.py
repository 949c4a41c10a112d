"""A command: a name, what runs under it, and how its parameters are read."""

import inspect
from collections.abc import Callable
from typing import Any, cast

from ..._effect.effect import effect
from ..._effect.stream import stream
from ..._native import CommandFigures, EffectFunction, StreamFunction
from ...errors import ConfigError
from ...policy._base import Policy, name_of
from ...policy._given import shown
from .bind import Binding, binding

__all__ = ["Command", "check_name", "make"]

#: Names that are the protocol's own.
_RESERVED = ("rpc.", "$/")
_LONGEST = 256


class Command:
    """One of a router's."""

    def __init__(self, name: str, function: Any, runs: Callable[..., Any], bound: Binding, *, streams: bool) -> None:
        self.name = name
        #: As it was given, with its signature and docstring.
        self.function = function
        #: The same, under the router's policies.
        self.runs = runs
        self.bound = bound
        self.streams = streams
        #: Set by its router.
        self.figures: CommandFigures


def check_name(name: object) -> str:
    """A ConfigError for what is no command's name."""
    if not isinstance(name, str) or not name or len(name) > _LONGEST:
        raise ConfigError(f"command({shown(name)}): must be a name of 1 to {_LONGEST} characters")
    if name.startswith(_RESERVED):
        raise ConfigError(f"command({name!r}): names that begin with 'rpc.' or '$/' are the protocol's own")
    if not name.isprintable():
        raise ConfigError(f"command({name!r}): must be printable")
    return name


def make(name: str, function: Any, policies: tuple[Policy[Any], ...], *, streams: bool) -> Command:
    """A ConfigError says what of it cannot work."""
    given: object = function.__func__ if inspect.ismethod(function) else function
    wanted, other = ("streaming", "command") if streams else ("command", "streaming")
    if isinstance(given, EffectFunction if streams else StreamFunction):
        raise ConfigError(f"{wanted}({name!r}) on {name_of(function)}: write @router.{other}({name!r})")
    if not isinstance(given, StreamFunction if streams else EffectFunction):
        decorator = "stream" if streams else "effect"
        what = name_of(function) if callable(function) else shown(given)
        raise ConfigError(f"{wanted}({name!r}) on {what}: write @{decorator} below it")
    bound = binding(name, function)
    if streams:
        plain: Any = cast("Any", given).__wrapped__
        if inspect.ismethod(function):
            plain = plain.__get__(function.__self__)
        own: tuple[Any, ...] = cast("Any", given).plan.policies
        return Command(name, function, stream(*policies, *own, name=name)(plain), bound, streams=True)
    # Around it, and not in one list with its own: what runs on a thread or a pool is called as it calls itself.
    runs = effect(*policies, name=name)(function) if policies else function
    return Command(name, function, runs, bound, streams=False)
