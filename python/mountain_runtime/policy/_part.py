"""A policy's description of itself for `Pipeline.describe()`: in words, and the numbers behind them."""

from dataclasses import dataclass
from math import inf
from typing import Literal

__all__ = ["Errors", "Part", "span"]

#: Classes of errors; empty where a function decides.
Errors = tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One policy of a stack."""

    kind: Literal["timeout", "retry", "places", "rate", "breaker", "cache", "fallback", "hedge", "chaos", "idle", "on"]
    #: As it is written.
    text: str
    does: str
    #: Seconds after which it ends what is inside.
    limit: float = inf
    #: Seconds that a call may wait before it is let in.
    wait: float = 0.0
    #: How often it begins what is inside,
    attempts: float = 1
    #: and the most that it waits in between, in all.
    between: float = 0.0
    #: The errors that it goes by.
    on: Errors = ()
    #: Beside its own waits it takes a time without a known upper bound: that of what this says.
    beyond: str = ""
    #: It tries again by the error,
    on_errors: bool = False
    #: by the value.
    until: bool = False
    #: How many attempts are under way at once, at most,
    beside: int = 1
    #: and the seconds after which the second begins, where they are known.
    after: float = inf
    #: The shortest time for which it refuses.
    cooldown: float = inf
    #: It gives out values that are out of date while it fetches others.
    stale: bool = False


def span(seconds: float) -> str:
    """So much time, as one would say it."""
    if seconds == inf:
        return "no limit"
    return f"{seconds:.4g} s"
