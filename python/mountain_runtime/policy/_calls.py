"""Whether a callable takes the arguments of a call: wrong ones are a TypeError where the call is written."""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, cast

from .._native import EffectFunction

__all__ = ["called", "code_of", "refuse"]

#: The Python function that a callable calls in the end, the arguments that it gives of its own, and those by name.
Called = tuple[types.FunctionType, tuple[Any, ...], dict[str, Any]]


def called(fn: Any) -> "Called | inspect.Signature | None":
    """The function that a call of `fn` calls; its signature, if it is none of Python's; None if neither can be trusted.

    A signature that a decorator copied (`__wrapped__`, `__signature__`) says nothing of what may be passed.
    """
    before: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    while not isinstance(fn, types.FunctionType):
        if isinstance(fn, EffectFunction):
            fn = fn.plan.function
        elif inspect.ismethod(fn):
            before = (fn.__self__, *before)
            fn = fn.__func__
        elif type(fn) is functools.partial:
            if any(each is _PLACEHOLDER for each in fn.args):
                return None
            before = (*fn.args, *before)
            named = {**fn.keywords, **named}
            fn = cast("Any", fn.func)
        elif isinstance(fn, type):
            made: Any = fn
            if type(made).__call__ is not type.__call__ or made.__new__ is not object.__new__:
                return None
            before = (None, *before)
            fn = made.__init__
            if not isinstance(fn, types.FunctionType):
                return None
        elif isinstance(fn, types.BuiltinFunctionType):
            return _of_builtin(fn) if not before and not named else None
        else:
            before = (fn, *before)
            fn = inspect.getattr_static(type(cast("object", fn)), "__call__", None)
            if not isinstance(fn, (types.FunctionType, EffectFunction)):
                return None
    return fn, before, named


#: Stands for an argument that is yet to come in a partial of CPython 3.14.
_PLACEHOLDER = getattr(functools, "Placeholder", object())


def _of_builtin(fn: Any) -> inspect.Signature | None:
    """That of CPython's own builtins, which its arguments are read by; others may write what they want."""
    owner = fn.__module__ or type(fn.__self__).__module__
    if owner not in sys.stdlib_module_names:
        return None
    try:
        return inspect.signature(fn)
    except ValueError:
        return None


def refuse(fn: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> None:
    """A TypeError, as the call itself would raise it, if `fn` does not take these arguments."""
    found = called(fn)
    if isinstance(found, inspect.Signature):
        try:
            found.bind(*args, **(kwargs or {}))
        except TypeError as error:
            raise TypeError(f"{fn.__name__}() {error}") from None
    elif found is not None:
        function, before, named = found
        _twin(function)(*before, *args, **{**named, **(kwargs or {})})


_NOTHING = (lambda: None).__code__
_STARS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_ANYTHING = _NOTHING.replace(co_flags=_NOTHING.co_flags | _STARS, co_nlocals=2, co_varnames=("args", "kwargs"))
_KINDS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def code_of(fn: Any) -> types.CodeType:
    """Code by which a coroutine function is known, of what `fn` calls; the function's own, if it is one."""
    found = called(fn)
    code = found[0].__code__ if isinstance(found, tuple) else _ANYTHING
    flags = code.co_flags & ~_KINDS | inspect.CO_COROUTINE
    return code if flags == code.co_flags else code.replace(co_flags=flags)


def _twin(function: types.FunctionType) -> Callable[..., None]:
    """A function that takes what `function` takes and does nothing: so the errors are CPython's own."""
    code = function.__code__
    stars = code.co_flags & _STARS
    count = code.co_argcount + code.co_kwonlyargcount + stars.bit_count()
    takes = _NOTHING.replace(
        co_argcount=code.co_argcount,
        co_posonlyargcount=code.co_posonlyargcount,
        co_kwonlyargcount=code.co_kwonlyargcount,
        co_nlocals=count,
        co_varnames=code.co_varnames[:count],
        co_flags=_NOTHING.co_flags | stars,
    )
    twin = types.FunctionType(takes, {}, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__qualname__ = function.__qualname__
    return twin
