"""The text of an effect, as one would write it: `a(1).map(str)`, `process.run('ls', '-l')`. Its length is bounded."""

import functools
import inspect
import reprlib
from collections.abc import Iterable
from types import MethodType
from typing import Any

from .._native import Effect
from . import compose as _compose

__all__ = ["shown"]

#: Characters of one value, of a function's name, of a whole effect; and how many effects or verbs of one are named.
_VALUE = 60
_WHOLE = 400
_SEVERAL = 4

_values = reprlib.Repr()
_values.maxlevel, _values.maxstring, _values.maxother, _values.maxlong = 3, _VALUE, _VALUE, _VALUE

_VERBS = {id(_compose.map_): "map", id(_compose.then): "then", id(_compose.attempt): "attempt"}


def shown(effect: Effect[Any]) -> str:
    """An object's repr; its type's name if the repr raises."""
    try:
        text = _written(effect, 2)
    except Exception:  # out of an attribute of what was passed
        text = f"{effect._plan.name}(...)"
    own = effect._plan.policies
    if own and not effect._plan.added:
        text += f" under {', '.join(map(_value, own))}"
    return f"<{type(effect).__name__} {_cut(text, _WHOLE)}>"


def _written(effect: Effect[Any], depth: int) -> str:
    """Its call and the verbs after it, the first and the last of many; `depth` is how deep effects inside are shown."""
    verbs: list[str] = []
    several = False
    while True:
        plan = effect._plan
        function, args, kwargs, group = effect._made_of
        if plan.added:
            verbs.append(f".under({', '.join(map(_value, plan.policies[: plan.added]))})")
        verb = _VERBS.get(id(function))
        if verb is None or args is None:
            break
        given: tuple[Any, ...] = args[1] if verb == "attempt" else (args[1],)
        verbs.append(f".{verb}({', '.join(map(_function, given))})")
        effect = args[0]
        if verb == "map" and given == (tuple,) and effect._made_of[3] is not None and not effect._plan.added:
            verbs[-1] = ""  # the call that gather(a, b) makes of native effects
            several = True
        if len(verbs) > 2 * _SEVERAL:
            del verbs[_SEVERAL:-1]
            verbs.insert(_SEVERAL, "...")
    return _call(effect, function, args or (), kwargs or {}, group, several, depth) + "".join(reversed(verbs))


def _call(
    effect: Effect[Any],
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    group: Any,
    several: bool,
    depth: int,
) -> str:
    name = effect._plan.name
    if function is _compose._gather or function is _compose._race:
        group, several = args[0], function is _compose._race or args[1] is tuple
    if group is not None:
        inside = _effects(group, depth)
        return f"{name}({inside})" if several or name == "race" else f"{name}([{inside}])"
    if function is None and name.startswith("fs."):
        from .. import fs  # a room above this one

        args, kwargs = _by_name(getattr(fs, name[3:]), args, kwargs)
    values = [_value(each, depth) for each in args[effect._plan.skip :]]
    if name.startswith("fs.write_"):
        values.append("...")  # the value may be long, or secret
    values += [f"{key}={_value(each, depth)}" for key, each in kwargs.items()]
    return f"{name}({', '.join(values)})"


def _by_name(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a native call, those by name that the function takes so; without what is the default anyway."""
    pairs = list(zip(inspect.signature(function).parameters.values(), args, strict=False))
    named = {to.name: given for to, given in pairs if to.kind is to.KEYWORD_ONLY and given != to.default}
    return tuple(given for to, given in pairs if to.kind is not to.KEYWORD_ONLY), {**named, **kwargs}


def _effects(effects: Iterable[Effect[Any]], depth: int) -> str:
    some = list(effects)
    texts = [_value(each, depth) for each in some[:_SEVERAL]]
    return ", ".join([*texts, "..."] if len(some) > _SEVERAL else texts)


def _value(value: Any, depth: int = 0) -> str:
    if isinstance(value, Effect):
        if not depth:
            return "..."
        return _cut(_written(value, depth - 1), 2 * _VALUE)  # pyright: ignore[reportUnknownArgumentType]
    return "..." if value is ... else _cut(_values.repr(value), 2 * _VALUE)


def _function(function: Any) -> str:
    """As it is written where it is passed: by its name."""
    if isinstance(function, functools.partial):
        return f"partial({_function(function.func)}, ...)"
    name = getattr(function, "__qualname__", None)
    if isinstance(function, MethodType) or not isinstance(name, str):
        name = name if isinstance(name, str) else _values.repr(function)
    return _cut(name.rpartition("<locals>.")[2], _VALUE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
