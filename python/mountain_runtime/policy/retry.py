"""Retry: which failures are tried again, how often, after how long."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from math import inf
from typing import Any, cast

from .._native import Layer
from ..errors import ConfigError
from ._backoff import Backoff, exponential, wrong_backoff
from ._base import Policy
from ._budget import RetryBudget
from ._errors import are_classes, as_tuple, named, wrong
from ._functions import takes_one
from ._given import shown, to_make
from ._numbers import Seconds, count, seconds
from ._part import Part, span

__all__ = ["Retry"]

_DEFAULT = exponential()
#: Attempts beyond any that are ever made.
_MOST = 2**31

On = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool | float | timedelta]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retry(Policy):
    """Calls again when the call fails with what `on` names; the last error is raised, with the attempts noted.

    A wait that would end after the limit around it is not slept: the last error is raised at once, with a note that
    says what did not fit. The TimedOut of a Timeout that stands inside it counts as named. `Rejected` is tried again
    only when it, or a subclass of it, is named.
    """

    #: Classes of errors; or a function that decides by itself: True or False, or the seconds to wait, such as a
    #: server's Retry-After (negative or NaN: as the backoff says).
    on: On
    #: In total, the first one included; None is without end.
    attempts: int | None = 3
    backoff: Backoff = _DEFAULT
    #: Shared with other calls: with nothing left of it, a failure is raised as it is.
    budget: RetryBudget | None = None
    #: The most that a wait returned by `on` is believed.
    max_retry_after: Seconds = 60

    def __post_init__(self) -> None:
        _check_on(self.on)
        if self.attempts is not None:
            count(self.attempts, "Retry", "attempts")
        if not isinstance(self.backoff, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise wrong_backoff(self.backoff, "Retry", "backoff")
        if not isinstance(self.budget, RetryBudget | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"Retry(budget={shown(self.budget)}): must be a RetryBudget(...){to_make(self.budget, RetryBudget)}"
            )
        seconds(self.max_retry_after, "Retry", "max_retry_after")

    def __repr__(self) -> str:
        parts = [f"on={named(self.on)}"]
        for field in fields(self)[1:]:
            if (value := getattr(self, field.name)) != field.default:
                parts.append(f"{field.name}={value!r}")
        return f"Retry({', '.join(parts)})"

    def _part(self) -> Part:
        attempts = inf if self.attempts is None else min(self.attempts, 2**53)
        asked = 0.0 if are_classes(self.on) else seconds(self.max_retry_after, "Retry", "max_retry_after")
        between = self.backoff.total(attempts - 1, asked)
        many = "without end" if attempts == inf else f"{attempts} attempts in all"
        waits = "" if attempts == inf or attempts == 1 else f", with waits of at most {span(between)} together"
        budget = "" if self.budget is None else ", as long as the budget lasts"
        return Part(
            kind="retry",
            text=repr(self),
            does=f"tries again on {named(self.on)}: {many}{waits}{budget}",
            attempts=attempts,
            between=between,
            on=as_tuple(self.on) if are_classes(self.on) else (),
        )

    def _layer(self) -> Layer:
        wait = self.backoff
        cap = seconds(self.max_retry_after, "Retry", "max_retry_after")
        return Layer.retry(
            self.on,
            self.attempts and min(self.attempts, _MOST),
            wait._initial,
            wait._factor,
            wait._max,
            wait._jitter,
            cap,
            self.budget and self.budget._budget,
        )


def _check_on(on: Any) -> None:
    if are_classes(on):
        return
    text = named(on)
    if isinstance(on, (type, tuple)) or not _can_be_called(on):
        raise wrong(on, "Retry", "must be a subclass of Exception, a tuple of such, or a function of the error")
    if inspect.iscoroutinefunction(on) or inspect.isgeneratorfunction(on) or inspect.isasyncgenfunction(on):
        raise ConfigError(f"Retry(on={text}): must be a plain function, which answers at once")
    if not takes_one(cast("Callable[..., object]", on)):
        raise ConfigError(f"Retry(on={text}): is called with the error: write lambda error: ...")


def _can_be_called(on: object) -> bool:
    return callable(on)
