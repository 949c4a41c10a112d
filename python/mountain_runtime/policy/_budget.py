"""RetryBudget: how much load retries may add, for many calls together."""

from typing import final

from .._native import BudgetState
from ._arguments import check_name
from ._numbers import number

__all__ = ["RetryBudget"]


@final
class RetryBudget:
    """At most `ratio` retries for each call, and `min_per_second` beside that, over the last ten seconds.

    When a service fails for all callers, retries multiply its load just then. Calls share a budget by sharing the
    object: `Retry(on=..., budget=budget)`. With none left, a failure is raised as it is. After Finagle's retry budget
    (2015).

    `name` is what logs and metrics call it.
    """

    __slots__ = ("__weakref__", "_budget", "_min_per_second", "_name", "_ratio")

    def __init__(self, *, ratio: float = 0.1, min_per_second: float = 1, name: str | None = None) -> None:
        check_name(name, "RetryBudget")
        self._name = name
        self._ratio = number(ratio, "RetryBudget", "ratio", least=0)
        self._min_per_second = number(min_per_second, "RetryBudget", "min_per_second", least=0)
        self._budget = BudgetState(self._ratio, self._min_per_second, name)

    def __repr__(self) -> str:
        name = "" if self._name is None else f", name={self._name!r}"
        return f"RetryBudget(ratio={self._ratio:.12g}, min_per_second={self._min_per_second:.12g}{name})"
