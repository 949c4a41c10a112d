"""The base class of policies, and the plan that a list of them becomes."""

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Never, ParamSpec, TypeVar, cast, get_origin

from .._native import Effect, Layer, Plan, call_effect, check_call
from ..errors import ConfigError
from ._arguments import arity, before_services, is_method
from ._functions import check_arguments
from ._given import not_a_function, shown, way_to_policies
from ._part import Part
from ._rungs import check_rung, way_to_stream

__all__ = ["Asks", "D", "D_co", "Policy", "class_of", "flatten", "name_of", "plan", "under"]

P = ParamSpec("P")
T = TypeVar("T")

#: The type of a fallback's value: none, unless a policy is a Fallback.
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    D = TypeVarWithDefault("D", default=Never)
    D_co = TypeVarWithDefault("D_co", covariant=True, default=Never)
else:
    D = TypeVar("D")
    D_co = TypeVar("D_co", covariant=True)

Asks = Mapping[str, Callable[..., Any] | None]


class Policy(Generic[D_co]):
    """A rule about how a call runs: when it is given up, repeated, refused.

    Settings are frozen values; what holds state is an object, compared by identity and shared by sharing it.
    `Policy[X]` may give an `X` in place of the function's result, and a plain `Policy` gives nothing of its own.
    """

    __slots__ = ()

    #: Whether it holds state: such an object may stand in a stack once only, or it would count one call twice.
    _stateful: ClassVar[bool] = False

    #: The text that an `async with policy:` is to be replaced with.
    _instead: ClassVar[str] = "give it to @effect(...), or write `await policy.call(function, ...)`"

    def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Effect[T | D_co]:
        """An effect of `fn(*args, **kwargs)` under this policy, for a function that one did not write."""
        if (way := way_to_stream(fn, self)) is not None:
            raise TypeError(f"call() makes an effect, which has one value, and {way}")
        if not callable(cast("object", fn)):
            raise TypeError(not_a_function(fn, "call", ", ..."))
        made = plan((self,), name_of(fn), fn)
        check_call(fn, args, kwargs or None)
        return call_effect(fn, args, kwargs or None, made)

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        # typing's own alias sets an attribute on what it makes, a TypeError on 3.11 where that is frozen and has slots.
        return GenericAlias(cls, item)

    if not TYPE_CHECKING:  # type checkers say by themselves that it is no context manager

        def __enter__(self):
            raise ConfigError(f"{self!r} is no block: {self._instead}")

        def __exit__(self, *_): ...

        async def __aenter__(self):
            self.__enter__()

        async def __aexit__(self, *_): ...

    def _flat(self) -> "tuple[Policy[Any], ...]":
        """The single policies that it consists of, outermost first."""
        return (self,)

    def _asks(self) -> Asks:
        """Its settings that are functions of a call's arguments; None in place of one that takes any call."""
        return {}

    def _rung(self) -> Callable[..., Any] | None:
        """Its function that stands in, called with the arguments of the call."""
        return None

    def _only(self) -> Literal["effect", "stream"] | None:
        """The kind of call that it can stand around, if not both."""
        return None

    def _part(self) -> Part:
        """Its description, in words and numbers."""
        raise NotImplementedError

    def _after_fork(self) -> None:
        """In a forked child: releases what calls of the parent hold of it."""

    def _layer(self) -> Layer:
        """Its layer in the engine."""
        raise ConfigError(f"{self!r} is no policy that the engine knows: build on those of mountain_runtime")


def flatten(policies: Iterable[object], name: str, owner: str = "effect") -> tuple[Policy[Any], ...]:
    """The single policies, outermost first; a ConfigError if they cannot stand together around `name`.

    `owner` is the decorator that they are written in.
    """
    flat = tuple(single for policy in policies for single in _checked(policy, owner)._flat())
    stateful = [id(policy) for policy in flat if policy._stateful]
    if len(set(stateful)) < len(stateful):
        twice = next(policy for policy in flat if stateful.count(id(policy)) > 1)
        raise ConfigError(f"{twice!r} stands twice around {name}: each call would count twice", effect=name)
    return flat


def plan(
    policies: Iterable[object],
    name: str,
    function: object = None,
    skip: int = 0,
    *,
    given: tuple[Any, ...] | None = None,
    streams: bool = False,
) -> Plan:
    """The plan of an effect, or with `streams` of a stream, called `name` under `policies`, outermost first.

    Its calls are those of `function`, after the first `skip` arguments. Without a function, and but for those `given`
    to a native call, there are no arguments to ask for.
    """
    flat = flatten(policies, name)
    _check_kind(flat, name, streams)
    asking = [(policy, setting, each) for policy in flat for setting, each in policy._asks().items()]
    for policy, setting, each in asking:
        if function is None and given is None:
            raise ConfigError(
                f"{policy!r} has {setting}=, which asks for a call's arguments: '{name}' is made of other effects "
                "and has none. Put the policy on those",
                effect=name,
            )
        if each is not None:
            check_arguments(each, setting, policy, function, name)
    rungs = [(policy, rung) for policy in flat if (rung := policy._rung()) is not None]
    for policy, rung in rungs:
        check_rung(rung, policy, function, name, given, streams)
    layers = [policy._layer() for policy in flat]
    if asking or rungs:
        method, services = is_method(function), before_services(function)
        return Plan(flat, layers, name, function, skip, method, arity(function), services, streams)
    return Plan(flat, layers, name, function, skip, streams=streams)


def _check_kind(policies: Iterable[Policy[Any]], name: str, streams: bool) -> None:
    """A ConfigError for a policy that cannot stand around an effect, or a stream."""
    for policy in policies:
        only = policy._only()
        if streams and only == "effect":
            raise ConfigError(f"{policy!r} is about one value, and stream {name} gives many items", effect=name)
        if not streams and only == "stream":
            raise ConfigError(f"{policy!r} stands around {name}, which gives one value: write Timeout", effect=name)


def under(policies: tuple[object, ...], inner: Plan, given: tuple[Any, ...] | None) -> Plan:
    """The plan of an effect that is put under `policies`, around those it has; `given`: of a native call."""
    every = (*policies, *inner.policies)
    return plan(every, inner.name, inner.function, inner.skip, given=given, streams=inner.streams)


def _checked(policy: object, owner: str) -> Policy[Any]:
    if isinstance(policy, Policy):
        return policy  # pyright: ignore[reportUnknownVariableType] - whatever it gives
    if (made_of := class_of(policy)) is not None:
        raise ConfigError(f"{made_of.__name__} is a class: write {made_of.__name__}(...)")
    raise ConfigError(f"{shown(policy)} is not a policy, such as Timeout(10){way_to_policies(policy, owner)}")


def class_of(given: object) -> type | None:
    """The class of policies that `given` is, bare or with what it gives, as in `Fallback[int]`."""
    found = get_origin(given) or given
    return cast("type", found) if isinstance(found, type) and issubclass(found, Policy) else None


def name_of(fn: object) -> str:
    """The name of an effect of `fn`: `user` or `Api.user`, without the function in which it was defined."""
    while isinstance(fn, functools.partial):
        fn = cast("object", fn.func)
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    if not isinstance(name, str):
        name = type(fn).__qualname__
    return name.rpartition("<locals>.")[2]
