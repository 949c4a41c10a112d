"""Retry: which failures and results are tried again, how often, after how long."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from .._native import Layer
from ..errors import ConfigError
from ._backoff import Backoff, BackoffFunction, check_backoff, exponential
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
Until = Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retry(Policy):
    """Calls again when the call fails with what `on` names; the last error is raised, with the attempts noted.

    With `until` it also calls again when the call gives a value that is not accepted; when no attempt is left,
    `errors.NotAccepted` is raised, which has the last one. Without `on` it tries no error again.

    A wait that would end after the limit around it is not slept: the last error is raised at once, with a note that
    says what did not fit. The TimedOut of a Timeout that stands inside it counts as named. `Rejected` is tried again
    only when it, or a subclass of it, is named.
    """

    #: Classes of errors; or a function that decides by itself: True or False, or the seconds to wait, such as a
    #: server's Retry-After (negative or NaN: as the backoff says). It may be left out beside `until`.
    on: On | None = None
    #: Whether a value is accepted: what is true of it.
    until: Until | None = None
    #: In total, the first one included; None is without end.
    attempts: int | None = 3
    #: Made by `constant` or `exponential`; or a function of the number of the attempt before, counted from 1, which
    #: gives the seconds to wait.
    backoff: Backoff | BackoffFunction = _DEFAULT
    #: Shared with other calls: with nothing left of it, a failure is raised as it is.
    budget: RetryBudget | None = None
    #: The most that a wait returned by `on` is believed.
    max_retry_after: Seconds = 60

    if TYPE_CHECKING:  # one of `on` and `until` at least

        @overload
        def __init__(
            self,
            *,
            on: On,
            until: Until | None = None,
            attempts: int | None = 3,
            backoff: Backoff | BackoffFunction = ...,
            budget: RetryBudget | None = None,
            max_retry_after: Seconds = 60,
        ) -> None: ...
        @overload
        def __init__(
            self,
            *,
            until: Until,
            attempts: int | None = 3,
            backoff: Backoff | BackoffFunction = ...,
            budget: RetryBudget | None = None,
            max_retry_after: Seconds = 60,
        ) -> None: ...
        def __init__(self, **settings: Any) -> None: ...

    def __post_init__(self) -> None:
        _check_until(self.until)
        if self.on is not None or self.until is None:
            _check_on(self.on)
        if self.attempts is not None:
            count(self.attempts, "Retry", "attempts")
        check_backoff(self.backoff, "Retry", "backoff")
        if not isinstance(self.budget, RetryBudget | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"Retry(budget={shown(self.budget)}): must be a RetryBudget(...){to_make(self.budget, RetryBudget)}"
            )
        seconds(self.max_retry_after, "Retry", "max_retry_after")

    def __repr__(self) -> str:
        parts: list[str] = []
        for field in fields(self):
            if (value := getattr(self, field.name)) != field.default:
                plain = field.name not in ("on", "until", "backoff") or isinstance(value, Backoff)
                parts.append(f"{field.name}={value!r}" if plain else f"{field.name}={named(value)}")
        return f"Retry({', '.join(parts)})"

    def _only(self) -> Literal["effect"] | None:
        return None if self.until is None else "effect"

    def _part(self) -> Part:
        attempts = inf if self.attempts is None else min(self.attempts, 2**53)
        by_classes = are_classes(self.on)
        asked = 0.0 if by_classes or self.on is None else seconds(self.max_retry_after, "Retry", "max_retry_after")
        known = isinstance(self.backoff, Backoff)
        between = self.backoff.total(attempts - 1, asked) if isinstance(self.backoff, Backoff) else 0.0
        many = "without end" if attempts == inf else f"{attempts} attempts in all"
        waits = "" if attempts == inf or attempts == 1 else f", with waits of at most {span(between)} together"
        if not known and attempts > 1:
            waits = f", with the waits that {named(self.backoff)} gives"
        budget = "" if self.budget is None else ", as long as the budget lasts"
        on = [] if self.on is None else [f"on {named(self.on)}"]
        until = [] if self.until is None else [f"until {named(self.until)} accepts the result"]
        return Part(
            kind="retry",
            text=repr(self),
            does=f"tries again {', and '.join(on + until)}: {many}{waits}{budget}",
            attempts=attempts,
            between=between,
            on=as_tuple(self.on) if by_classes else (),
            beyond="" if known or attempts == 1 else "the waits of a retry",
            on_errors=self.on is not None,
            until=self.until is not None,
        )

    def _layer(self) -> Layer:
        wait = self.backoff
        return Layer.retry(
            self.on,
            self.until,
            self.attempts and min(self.attempts, _MOST),
            (wait._initial, wait._factor, wait._max, wait._jitter) if isinstance(wait, Backoff) else wait,
            seconds(self.max_retry_after, "Retry", "max_retry_after"),
            self.budget and self.budget._budget,
        )


def _check_on(on: Any) -> None:
    if are_classes(on):
        return
    if on is None:
        raise ConfigError("Retry() needs on=, the errors that are tried again, or until=, which accepts a result")
    if isinstance(on, (type, tuple)) or not _can_be_called(on):
        raise wrong(on, "Retry", "must be a subclass of Exception, a tuple of such, or a function of the error")
    _check_function(on, "on", "error")


def _check_until(until: Any) -> None:
    if until is None:
        return
    if not _can_be_called(until) or (isinstance(until, type) and issubclass(until, BaseException)):
        way = f": what is tried again on an error is on={named(until)}" if are_classes(until) else ""
        raise ConfigError(
            f"Retry(until={shown(until)}): must be a function of the result, such as lambda result: result.done{way}"
        )
    _check_function(until, "until", "result")


def _check_function(given: Any, setting: str, argument: str) -> None:
    text = f"Retry({setting}={named(given)})"
    if inspect.iscoroutinefunction(given) or inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        raise ConfigError(f"{text}: must be a plain function, which answers at once")
    if not takes_one(cast("Callable[..., object]", given)):
        raise ConfigError(f"{text}: is called with the {argument}: write lambda {argument}: ...")


def _can_be_called(on: object) -> bool:
    return callable(on)
