"""`effect` and `blocking`: functions whose calls are values."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from .._native import Effect, EffectFunction
from ..errors import ConfigError
from ..policy._arguments import check_name
from ..policy._base import D, D_co, Policy, class_of, flatten, name_of, plan
from ..policy._given import not_a_function, shown, way_to_policies
from . import threads as _threads
from .need import filled, needs, on_thread, without_needs

__all__ = ["BlockingDecorator", "EffectDecorator", "blocking", "check_async", "effect"]

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
    return _decorator(policies, name, check_async, _make_effect)


@overload
def blocking(fn: Callable[P, T], /) -> Callable[P, Effect[T]]: ...
@overload
def blocking(*policies: Policy[D], name: str | None = None) -> BlockingDecorator[D]: ...
def blocking(*policies: Any, name: str | None = None) -> Any:
    """Makes a sync function give effects that call it on a worker thread, under `policies`, outermost first.

    A thread cannot be stopped: cancelled or timed out, the caller is released, while the function goes on to its end.
    """
    return _decorator(policies, name, _check_sync, _make_blocking)


Make = Callable[[Callable[..., Any], tuple[Policy[Any], ...], str], Callable[..., Any]]


def _decorator(policies: tuple[Any, ...], name: str | None, check: Callable[[object], None], make: Make) -> Any:
    owner = "blocking" if check is _check_sync else "effect"
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
        policies, name or "a function"
    )  # policies that cannot work together are refused even before there is a function

    def with_policies(fn: Any, /) -> Any:
        return decorate(fn, policies)

    return with_policies


def _neither(given: object, owner: str, policies: tuple[Policy[Any], ...]) -> str:
    """The message of `owner` about an object that is neither a policy nor a function."""
    if _is_policy(given):
        listed = ", ".join(map(repr, (*policies, given)))
        return f"{given!r} is in the place of the function: write {owner}({listed}), with all policies"
    if isinstance(given, (Effect, Coroutine)):
        return not_a_function(given, owner)
    way = f": write {owner}(name={given!r})" if isinstance(given, str) else way_to_policies(given)
    return f"{shown(given)} is neither a policy nor a function{way.replace('effect(', f'{owner}(')}"


def _decorated_method(method: Any, decorate: Callable[..., Any], policies: tuple[Policy[Any], ...]) -> Any:
    """A static or class method around the decorated function."""
    return type(method)(decorate(method.__func__, policies))


def _is_policy(given: object) -> bool:
    return isinstance(given, Policy) or class_of(given) is not None


def _make_effect(fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str) -> Callable[..., Any]:
    return cast("Callable[..., Any]", EffectFunction(filled(fn, name), plan(policies, name, fn)))


def _make_blocking(fn: Callable[..., Any], policies: tuple[Policy[Any], ...], name: str) -> Callable[..., Any]:
    return cast(
        "Callable[..., Any]",
        EffectFunction(
            fn, plan(policies, name, fn, skip=1), on_thread(functools.partial(_threads.start, name), fn, name)
        ),
    )


# -- kinds of functions ------------------------------------------------------------------------------------------

#: asyncio's mark for a coroutine function that does not look like one; mocks and Cython's functions carry it too.
_MARK = getattr(asyncio.coroutines, "_is_coroutine", object())


def check_async(fn: object, owner: str = "effect") -> None:
    """A ConfigError if `fn` is known to give no awaitable of one result; `owner` is the decorator."""
    body = _body(fn)
    kind = _kind(body)
    if kind == "class" and hasattr(fn, "__await__"):
        return
    if kind == "function" and any(_kind(each) == "coroutine function" for each in _wrapped(body)):
        return  # a decorator's sync function around a coroutine function hands on what that gives
    if kind not in ("coroutine function", "unknown"):
        to_async = "make it `async def`" if owner == "batch" else "write @blocking, or make it `async def`"
        advice = to_async if kind == "function" else f"{_article(owner)} has one result"
        raise ConfigError(f"@{owner} on {name_of(fn)}, which is {_article(kind)}: {advice}", effect=name_of(fn))


def _check_sync(fn: object) -> None:
    kind = _kind(_body(fn))
    if kind == "coroutine function":
        raise ConfigError(f"@blocking on {name_of(fn)}, which is a {kind}: write @effect", effect=name_of(fn))
    if "generator" in kind:
        raise ConfigError(f"@blocking on {name_of(fn)}, which is a {kind}: return a list", effect=name_of(fn))


def _body(fn: object) -> object:
    """The function that runs when `fn` is called, as far as that can be known."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif inspect.isfunction(fn) or isinstance(fn, (type, EffectFunction)) or _is_marked(fn):
            return cast("Any", fn)
        else:
            call = getattr(type(fn), "__call__", None)  # noqa: B004 - the method itself is wanted
            return call if inspect.isfunction(call) and _kind(call) != "function" else fn


def _is_marked(fn: object) -> bool:
    return inspect.iscoroutinefunction(fn) or getattr(fn, "_is_coroutine", None) is _MARK


def _kind(fn: object) -> str:
    if isinstance(fn, EffectFunction) or _is_marked(fn):
        return "coroutine function"
    if inspect.isasyncgenfunction(fn):
        return "async generator function"
    if inspect.isgeneratorfunction(fn):
        # types.coroutine marks generator functions that can be awaited
        flags = cast("Any", fn).__code__.co_flags
        return "coroutine function" if flags & inspect.CO_ITERABLE_COROUTINE else "generator function"
    if isinstance(fn, type):
        return "class"
    return "function" if inspect.isfunction(fn) else "unknown"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _wrapped(fn: object) -> list[object]:
    found: list[object] = []
    while (fn := getattr(fn, "__wrapped__", None)) is not None and fn not in found:
        found.append(fn)
    return found
