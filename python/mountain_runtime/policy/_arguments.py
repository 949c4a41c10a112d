"""The arguments of a call as its function sees them, so that `f(1)` and `f(x=1)` are one call to a policy's `key=`."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any, cast

from ..errors import ConfigError

__all__ = ["bound", "check_function"]


def bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """The arguments by position as far as the signature allows; what was not given is left out."""
    try:
        signature = _signature(function)
    except ValueError:  # a builtin that does not say
        return args, kwargs
    given = signature.bind(*args, **kwargs)
    return given.args, given.kwargs or None


_signature = functools.lru_cache(maxsize=1024)(inspect.signature)


def check_function(given: Callable[..., Hashable] | Callable[..., float] | None, owner: str, setting: str) -> None:
    """A ConfigError if `given` is not a plain function of a call's arguments."""
    what = cast("Any", given)
    if what is None:
        return
    if not callable(what) or inspect.iscoroutinefunction(what):
        raise ConfigError(f"{owner}({setting}={what!r}): must be a plain function of the call's arguments")
