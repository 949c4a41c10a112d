"""Hedge: a second attempt beside a slow first one."""

from collections.abc import Hashable
from math import inf
from typing import Any, ParamSpec, TypedDict, cast, final

from .._native import BudgetState, HedgeState, Layer
from ..errors import ConfigError
from ._arguments import check_name
from ._asked import KeyFunction
from ._base import Asks, Policy
from ._budget import RetryBudget
from ._functions import check_function
from ._given import to_make
from ._keys import check_key
from ._numbers import Seconds, count, part, seconds, written
from ._part import Part, span

__all__ = ["Hedge"]

P = ParamSpec("P")

_PERCENTILE = 0.95
_BUDGET = 0.05
#: Beside its part of the calls a budget has one attempt in ten seconds: with few calls the part is less than one.
_PER_SECOND = 0.1
#: More than ever begin.
_MOST = 2**31


class HedgeStatistics(TypedDict):
    """The counters of a hedge since it was made."""

    #: Attempts that began beside a slow one.
    hedged: int
    #: Calls whose value was given by such an attempt.
    won: int
    #: Attempts for which nothing was left of the budget.
    refused: int


@final
class Hedge(Policy):
    """Begins a second attempt beside a slow first one: the first that succeeds gives the value.

    An attempt that is not needed any more is cancelled, and the call ends when its cleanup has. If all fail, the error
    of the first is raised, with the others in a note. An attempt that fails begins none: to try again is for a Retry.
    What may run twice at once may be hedged, no other work.

    The second attempt begins `after` so many seconds, the third after as many more, and so on to `attempts` in all.
    Without `after` it is the time within which the part `percentile` of the first attempts end well, of late, to a
    quarter more; no attempt begins beside another until 100 calls were seen.

    `budget` bounds the attempts beyond the first: a part, from 0 to 1, of the calls of the last ten seconds, with one
    more in ten seconds; or a RetryBudget to share; or None, no bound. With nothing left of it, the first attempt goes
    on alone.

    The first attempt runs in the caller's task, each further one in a task of its own, in a copy of the caller's
    context and under its deadline. Each passes the policies inside by itself.

    With `key`, a function of the call's arguments, each key has an observed time of its own. `name` is what metrics
    and the live page call it.

    An object with state: share it to share what is observed, and the budget.
    """

    __slots__ = ("__weakref__", "_after", "_attempts", "_budget", "_hedge", "_key", "_name", "_percentile")

    _stateful = True

    def __init__(
        self,
        after: Seconds | None = None,
        *,
        percentile: float = _PERCENTILE,
        attempts: int = 2,
        budget: float | RetryBudget | None = _BUDGET,
        key: KeyFunction[P] | None = None,
        name: str | None = None,
    ) -> None:
        check_name(name, "Hedge")
        check_function(key, "Hedge", "key")
        self._name = name
        self._key = key
        self._after = None if after is None else seconds(after, "Hedge", "after")
        self._percentile = part(percentile, "Hedge", "percentile", zero=False, one=False)
        if self._after is not None and self._percentile != _PERCENTILE:
            raise ConfigError(
                f"Hedge({written(self._after)}, percentile={percentile!r}): begins after fixed seconds or after an "
                "observed time; leave one of them out"
            )
        self._attempts = count(attempts, "Hedge", "attempts")
        if attempts == 1:
            raise ConfigError(
                "Hedge(attempts=1): the first attempt counts, so that none would begin beside it. Write 2"
            )
        self._budget = budget
        self._hedge = HedgeState(self._after, self._percentile, min(attempts, _MOST), _budget(budget), name)

    def statistics(self) -> HedgeStatistics:
        """`hedged`, `won` and `refused` since it was made."""
        return cast("HedgeStatistics", self._hedge.statistics())

    def delay(self, key: Hashable = None) -> float | None:
        """The seconds after which a second attempt begins now; None while too few calls were seen.

        A hedge with `key=` takes the key here, as that function would give it; one without takes none. Otherwise it
        raises ConfigError.
        """
        check_key(self, key, "delay()")
        return self._hedge.delay(key)

    def __repr__(self) -> str:
        parts = [] if self._after is None else [written(self._after)]
        if self._percentile != _PERCENTILE:
            parts.append(f"percentile={self._percentile:.12g}")
        if self._attempts != 2:
            parts.append(f"attempts={self._attempts}")
        if self._budget != _BUDGET:
            parts.append(f"budget={self._budget!r}")
        if self._key is not None:
            parts.append(f"key={getattr(self._key, '__qualname__', cast('object', self._key))}")
        if self._name is not None:
            parts.append(f"name={self._name!r}")
        return f"Hedge({', '.join(parts)})"

    def _asks(self) -> Asks:
        return {} if self._key is None else {"key": self._key}

    def _part(self) -> Part:
        if self._after is None:
            each = "" if self._key is None else " of each key"
            when = f"slower than {self._percentile:.4%} of calls{each} were".replace(".0000%", "%")
        else:
            when = f"not done after {span(self._after)}"
        many = "another" if self._attempts == 2 else f"up to {self._attempts - 1} others, one by one,"
        budget = "" if self._budget is None else ", as long as the budget lasts"
        does = f"begins {many} beside an attempt that is {when}{budget}; the first success wins"
        after = inf if self._after is None else self._after
        return Part(kind="hedge", text=repr(self), does=does, beside=self._attempts, after=after)

    def _layer(self) -> Layer:
        return Layer.hedge(self._hedge, self._key)


def _budget(budget: Any) -> BudgetState | None:
    if budget is None:
        return None
    if isinstance(budget, RetryBudget):
        return budget._budget
    other = f", or a RetryBudget(...), or None for no bound{to_make(budget, RetryBudget)}"
    ratio = part(budget, "Hedge", "budget", other=other)
    return BudgetState(ratio, _PER_SECOND if ratio else 0, None)
