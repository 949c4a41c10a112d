"""Messages about an object given in the place of another: its text, and what to write instead."""

import inspect
import reprlib
from collections.abc import AsyncGenerator, Coroutine, Generator
from datetime import timedelta
from typing import Any, cast

from .._native import Effect, Stream, adopt

__all__ = ["SEVERAL", "coroutine", "is_call", "not_a_function", "shown", "to_make", "way_to_policies"]

#: The types of containers of policies, or of classes of errors, that are to be given one by one.
SEVERAL = (list, tuple, set, frozenset, Generator)


def coroutine(given: Any) -> str | None:
    """The name of the function that made the coroutine `given`, which is closed; None for anything else."""
    if not isinstance(given, Coroutine) or isinstance(given, Effect):
        return None
    given.close()
    return _name(cast("object", given))


def shown(given: Any) -> str:
    """As messages show it: functions and classes by name, anything else as its repr, bounded."""
    kind: type[object] = type(cast("object", given))
    if (name := coroutine(given)) is not None:
        return f"the coroutine {name}()"
    if inspect.isroutine(given) or isinstance(given, type):
        return _name(given)
    if isinstance(given, SEVERAL) and not isinstance(given, Generator):
        every = list(cast("list[object]", given))
        each = ", ".join([shown(one) for one in every[:6]] + ["..."] * (len(every) > 6))
        return f"[{each}]" if isinstance(given, list) else f"({each}{',' * (len(every) == 1)})"
    if isinstance(given, AsyncGenerator):
        return f"the generator {_name(cast('object', given))}()"
    if kind.__repr__ is object.__repr__ or issubclass(kind, Generator):
        return f"an object of {kind.__qualname__}"  # without its address
    return _short.repr(given)


def not_a_function(given: Any, owner: str, more: str = "", call: str = "") -> str:
    """The message of `owner`, which takes a function, with `more` arguments of it, and got what cannot be called.

    `call` is how `owner` is given the function, if not by `owner(function)`. Nothing complains that what was made by
    the function never ran.
    """
    if (made := _made_by_a_call(given)) is not None:
        name, kind = made
        return (
            f"{owner}() takes the function itself, and got {kind} of it, {name}(): write {call or owner}({name}{more})"
        )
    return f"{owner}() takes a function, not {shown(given)}"


def is_call(given: Any) -> bool:
    """Whether it is what a call of a function gave, in the place of the function."""
    return isinstance(given, (Effect, Stream, Coroutine, AsyncGenerator))


def _made_by_a_call(given: Any) -> tuple[str, str] | None:
    """The name of the function that it is a call of, and what that gave."""
    if isinstance(given, Effect):
        adopt(given)  # pyright: ignore[reportUnknownArgumentType] - of whatever it gives
        return _name(given), "an effect"
    if isinstance(given, Stream):
        return _name(given), "a stream"
    if isinstance(given, AsyncGenerator):
        return _name(cast("object", given)), "a generator"
    return None if (name := coroutine(given)) is None else (name, "a coroutine")


def to_make(given: Any, wanted: type) -> str:
    """The way from the class itself to what it makes."""
    return f": {wanted.__name__} is a class, write {wanted.__name__}(...)" if given is wanted else ""


def way_to_policies(given: Any, owner: str = "effect") -> str:
    """The way from `given` to policies, which stand one after another in the decorator `owner`."""
    if isinstance(given, SEVERAL):
        return f": policies are given one by one, as in {owner}({'size, ' * (owner == 'batch')}*policies)"
    if isinstance(given, (int, float, timedelta)) and not isinstance(given, bool):
        return f": for a limit of time write Timeout({given!r})"
    if isinstance(given, type) and issubclass(given, Exception):
        return f": to try again after it write Retry(on={_name(given)})"
    if isinstance(given, Effect):
        return ": policies go around an effect by effect.under(...)"
    if isinstance(given, Stream):
        return f": policies go around a stream by {_name(given)}(...).under(...)"
    if inspect.isroutine(cast("object", given)):
        return f": a function comes after its policies, write {owner}(...)({_name(given)})"
    if not isinstance(given, type) and callable(getattr(cast("object", given), "_call", None)):
        return f": for a pool write {owner}(On(pool))"
    return ""


def _name(given: Any) -> str:
    name = str(getattr(given, "__qualname__", None) or type(given).__name__)
    return name.rpartition("<locals>.")[2]


_short = reprlib.Repr()
_short.maxother = _short.maxstring = _short.maxlong = 80
