"""`effect` and `blocking`: functions whose calls are values."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from .._native import Effect, EffectFunction, Stream
from ..errors import ConfigError
from ..policy._arguments import check_name
from ..policy._base import D, D_co, Policy, class_of, flatten, name_of, plan
from ..policy._given import is_call, not_a_function, shown, way_to_policies
from . import stoppable as _stoppable
from . import threads as _threads
from .kinds import check_async, check_sync
from .need import filled, needs, on_thread, without_needs
from .remote import distant, split

__all__ = ["BlockingDecorator", "EffectDecorator", "blocking", "decorator", "effect"]

P = ParamSpec("P")
T = TypeVar("T")


class EffectDecorator(Protocol[D_co]):
    """`effect(...)` with its policies, before it has its function."""

    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Callable[P, Effect[T | D_co]]: ...


class BlockingDecorator(Protocol[D_co]):
    """`blocking(...)` with its policies, before it has its function."""

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, Effect[T | D_co]]: ...


@overload
def effect(fn: Callable[P, Awaitable[T]], /) -> Callable[P, Effect[T]]: ...
@overload
def effect(*policies: Policy[D], name: str | None = None) -> EffectDecorator[D]: ...
def effect(*policies: Any, name: str | None = None) -> Any:
    """Makes a coroutine function give effects, under `policies`, outermost first. Bare, it has no policies.

    `name` is what errors, statistics and reports call it; by default the function's own.
    """
    return decorator("effect", policies, name, check_async, _make_effect)


@overload
def blocking(fn: Callable[P, T], /) -> Callable[P, Effect[T]]: ...
@overload
def blocking(*policies: Policy[D], name: str | None = None) -> BlockingDecorator[D]: ...
def blocking(*policies: Any, name: str | None = None) -> Any:
    """Makes a sync function give effects that call it on a worker thread, under `policies`, outermost first.

    A thread cannot be stopped: cancelled or timed out, the caller is released, while the function goes on to its end.
    """
    return decorator("blocking", policies, name, check_sync, _make_blocking)


Make = Callable[[Callable[..., Any], tuple[Policy[Any], ...], str], Callable[..., Any]]


def decorator(
    owner: str, policies: tuple[Any, ...], name: str | None, check: Callable[[object], None], make: Make
) -> Any:
    """The answer of `owner`, as `effect`, to its arguments: it checks a function and makes another of it."""
    check_name(name, owner)

    def decorate(fn: Any, policies: tuple[Policy[Any], ...]) -> Any:
        if isinstance(fn, (staticmethod, classmethod)):
            return _decorated_method(cast("Any", fn), decorate, policies)
        if not callable(fn):
            raise ConfigError(_neither(fn, owner, policies), effect=name or "")
        check(fn)
        made = make(fn, policies, name or name_of(fn))
        # An object keeps its own attributes; those set on a function are handed on.
        made = functools.update_wrapper(made, fn, updated=("__dict__",) if inspect.isfunction(fn) else ())
        if needs(fn):
            cast("Any", made).__signature__ = without_needs(fn)
        if not hasattr(made, "__name__"):  # of a partial, or an object
            made.__name__ = made.__qualname__ = name or name_of(fn)
        return made

    if len(policies) == 1 and name is None and not _is_policy(policies[0]):
        return decorate(policies[0], ())
    flatten(
        policies, name or "a function", owner
    )  # policies that cannot work together are refused even before there is a function

    def with_policies(fn: Any, /) -> Any:
        return decorate(fn, policies)

    return with_policies


def _neither(given: object, owner: str, policies: tuple[Policy[Any], ...]) -> str:
    """The message of `owner` about an object that is neither a policy nor a function."""
    if _is_policy(given):
        listed = ", ".join(map(repr, (*policies, given)))
        return f"{given!r} is in the place of the function: write {owner}({listed}), with all policies"
    if is_call(given) and not isinstance(given, Stream):
        return not_a_function(given, owner)
    way = f": write {owner}(name={given!r})" if isinstance(given, str) else way_to_policies(given, owner)
    return f"{shown(given)} is neither a policy nor a function{way}"


def _decorated_method(method: Any, decorate: Callable[..., Any], policies: tuple[Policy[Any], ...]) -> Any:
    """A static or class method around the decorated function."""
    return type(method)(decorate(method.__func__, policies))


def _is_policy(given: object) -> bool:
    return isinstance(given, Policy) or class_of(given) is not None


def _make_effect(fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str) -> Callable[..., Any]:
    if (parts := split(policies)) is not None:
        return distant(fn, parts, name, _make_effect, threads=False)
    return cast("Callable[..., Any]", EffectFunction(filled(fn, name), plan(policies, name, fn)))


def _make_blocking(fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str) -> Callable[..., Any]:
    if (parts := split(policies)) is not None:
        return distant(fn, parts, name, functools.partial(_make_threaded, _stoppable.start), threads=True)
    return _make_threaded(_threads.start, fn, policies, name)


def _make_threaded(
    start: Callable[..., Any], fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str
) -> Callable[..., Any]:
    return cast(
        "Callable[..., Any]",
        EffectFunction(fn, plan(policies, name, fn, skip=1), on_thread(functools.partial(start, name), fn, name)),
    )
