"""The waits between attempts."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any, Literal

from ..errors import ConfigError
from ._errors import named
from ._functions import takes_one
from ._given import shown
from ._numbers import Seconds, number, seconds, written

__all__ = ["Backoff", "BackoffFunction", "check_backoff", "constant", "exponential", "wrong_backoff"]

#: The seconds to wait after an attempt, whose number it is given, counted from 1.
BackoffFunction = Callable[[int], Seconds]

#: The kinds of jitter.
_KINDS = ("full", "equal", "none")
#: Waits that are added up one by one; those beyond count as the longest.
_COUNTED = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Backoff:
    """The waits between attempts, made by `constant` or `exponential`."""

    _initial: float
    _factor: float
    _max: float
    _jitter: Literal["full", "equal", "none"]

    def __repr__(self) -> str:
        if self._factor == 1 and self._jitter == "none":
            return f"constant({written(self._initial)})"
        factor = "" if self._factor == 2 else f", factor={written(self._factor)}"
        jitter = "" if self._jitter == "full" else f", jitter={self._jitter!r}"
        return f"exponential({written(self._initial)}, max={written(self._max)}{factor}{jitter})"

    def wait(self, before: int, dice: float) -> float:
        """Seconds to wait when so many waits were before; `dice`, in [0, 1), is for the jitter."""
        try:
            most = min(self._initial * self._factor**before, self._max)
        except OverflowError:
            most = self._max
        kept = {"full": 0.0, "equal": 0.5, "none": 1.0}[self._jitter]
        return most * (kept + (1 - kept) * dice)

    def total(self, waits: float, least: float = 0.0) -> float:
        """The most that so many waits may take together, each of which may be `least` seconds instead."""
        most = max(self._max, least)
        if waits == inf:
            return inf if most else 0.0
        found, wait = 0.0, self._initial
        for _ in range(min(int(waits), _COUNTED)):
            found += max(min(wait, self._max), least)
            wait = min(wait * self._factor, self._max)
        return found + max(waits - _COUNTED, 0) * most


def constant(wait: Seconds) -> Backoff:
    """The same wait each time."""
    found = seconds(wait, "constant", "wait")
    return Backoff(found, 1.0, found, "none")


def exponential(
    initial: Seconds = 0.1,
    *,
    max: Seconds = 5,  # noqa: A002 - the word that says it
    factor: float = 2,
    jitter: Literal["full", "equal", "none"] = "full",
) -> Backoff:
    """Each wait `factor` times as long as the one before, none longer than `max`.

    Jitter keeps callers that failed together from coming back together: "full" waits anywhere from nothing to the whole
    wait, "equal" at least half of it, "none" all of it.
    """
    if jitter not in _KINDS:
        raise ConfigError(f"exponential(jitter={jitter!r}): must be one of {', '.join(map(repr, _KINDS))}")
    first, most = seconds(initial, "exponential", "initial"), seconds(max, "exponential", "max")
    if first > most:
        raise ConfigError(
            f"exponential({written(initial)}, max={written(max)}): begins with more than its most. "
            f"Give a larger max=, or write constant({written(max)})"
        )
    return Backoff(first, number(factor, "exponential", "factor", least=1), most, jitter)


def check_backoff(given: Any, owner: str, setting: str) -> None:
    """A ConfigError for what is neither a Backoff nor a function of an attempt."""
    if isinstance(given, Backoff):
        return
    if (
        not callable(given)
        or any(given is each for each in (exponential, constant, Backoff))
        or isinstance(given, type)
    ):
        raise wrong_backoff(given, owner, setting, ", or a function of the attempt")
    if inspect.iscoroutinefunction(given) or inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        raise ConfigError(f"{owner}({setting}={named(given)}): must be a plain function, which answers at once")
    if not takes_one(given):
        raise ConfigError(
            f"{owner}({setting}={named(given)}): is called with the number of the attempt: write lambda attempt: ..."
        )


def wrong_backoff(given: object, owner: str, setting: str, more: str = "") -> ConfigError:
    """The error of an object given in the place of a Backoff."""
    way = ""
    if given is exponential or given is constant or given is Backoff:
        way = ": write exponential()"
    elif isinstance(given, (int, float, timedelta)) and not isinstance(given, bool):
        way = f": write constant({given!r})"
    return ConfigError(f"{owner}({setting}={shown(given)}): must be made by constant() or exponential(){more}{way}")
