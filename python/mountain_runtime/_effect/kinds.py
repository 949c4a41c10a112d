"""The kinds of functions that the decorators take, and the ConfigErrors for the others."""

import asyncio
import functools
import inspect
from typing import Any, cast

from .._native import EffectFunction, StreamFunction
from ..errors import ConfigError
from ..policy._base import class_of, name_of

__all__ = ["check_async", "check_stream", "check_sync"]

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
        if kind == "function" and (policy := _policy_of(body)):
            raise ConfigError(f"{policy}, a function that makes a policy, was not called: write {policy}(...)")
        blocking = "write @blocking below it" if owner == "batch" else "write @blocking"
        advice = {
            "function": f"{blocking}, or make it `async def`",
            "async generator function": f"{_article(owner)} has one result: write @stream for many",
        }.get(kind, f"{_article(owner)} has one result")
        raise ConfigError(f"@{owner} on {name_of(fn)}, which is {_article(kind)}: {advice}", effect=name_of(fn))


def check_sync(fn: object) -> None:
    """A ConfigError where `fn` is no sync function."""
    kind = _kind(_body(fn))
    if kind == "coroutine function":
        raise ConfigError(f"@blocking on {name_of(fn)}, which is a {kind}: write @effect", effect=name_of(fn))
    if kind == "async generator function":
        raise ConfigError(f"@blocking on {name_of(fn)}, which is {_article(kind)}: write @stream", effect=name_of(fn))
    if "generator" in kind:
        raise ConfigError(f"@blocking on {name_of(fn)}, which is a {kind}: return a list", effect=name_of(fn))


def check_stream(fn: object) -> None:
    """A ConfigError where `fn` is no async generator function."""
    body = _body(fn)
    kind = _kind(body)
    if kind in ("async generator function", "unknown"):
        return
    if kind == "function" and any(_kind(each) == "async generator function" for each in _wrapped(body)):
        return  # a decorator's sync function around one hands on what that gives
    if kind == "function" and (policy := _policy_of(body)):
        raise ConfigError(f"{policy}, a function that makes a policy, was not called: write {policy}(...)")
    if isinstance(body, EffectFunction):
        advice = "leave out @effect, @blocking or @batch below it, and `yield` its items"
        raise ConfigError(f"@stream on {name_of(fn)}, which makes effects of one value: {advice}", effect=name_of(fn))
    advice = {
        "coroutine function": "write @effect, or `yield` its items",
        "generator function": "make it `async def`",
    }.get(kind, "make it `async def`, and `yield` its items")
    raise ConfigError(f"@stream on {name_of(fn)}, which is {_article(kind)}: {advice}", effect=name_of(fn))


def _body(fn: object) -> object:
    """The function that runs when `fn` is called, as far as that can be known."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif inspect.isfunction(fn) or isinstance(fn, (type, EffectFunction, StreamFunction)) or _is_marked(fn):
            return cast("Any", fn)
        else:
            call = getattr(type(fn), "__call__", None)  # noqa: B004 - the method itself is wanted
            return call if inspect.isfunction(call) and _kind(call) != "function" else fn


def _policy_of(fn: object) -> str | None:
    """The name of a function that says of itself that it gives a policy."""
    gives = getattr(fn, "__annotations__", {}).get("return")
    return name_of(fn) if class_of(gives) is not None else None


def _is_marked(fn: object) -> bool:
    return inspect.iscoroutinefunction(fn) or getattr(fn, "_is_coroutine", None) is _MARK


def _kind(fn: object) -> str:
    if isinstance(fn, EffectFunction) or _is_marked(fn):
        return "coroutine function"
    if isinstance(fn, StreamFunction) or inspect.isasyncgenfunction(fn):
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
