"""A hedge's settings: those that are refused, its text, and the warnings about its place."""

from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import Fallback, Hedge, Pipeline, Retry, RetryBudget, Timeout, effect
from mountain_runtime.errors import ConfigError
from tests.policy.test_hedge_when import napped


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Hedge(-1), r"Hedge\(after=-1\)"),
        (lambda: Hedge("1"), r"Hedge\(after='1'\)"),  # type: ignore[arg-type]
        (lambda: Hedge(attempts=0), "attempts=0"),
        (lambda: Hedge(attempts=1), "none would begin beside it"),
        (lambda: Hedge(attempts=True), "attempts=True"),
        (lambda: Hedge(percentile=0), "more than 0 and less than 1"),
        (lambda: Hedge(percentile=95), "more than 0 and less than 1"),
        (lambda: Hedge(percentile=float("nan")), "percentile=nan"),
        (lambda: Hedge(1, percentile=0.5), "leave one of them out"),
        (lambda: Hedge(budget=-0.1), r"budget=-0.1"),
        (lambda: Hedge(budget=RetryBudget), "budget=RetryBudget"),  # type: ignore[arg-type]
        (lambda: Hedge(budget="none"), "budget='none'"),  # type: ignore[arg-type]
        (lambda: Hedge(key=1), "key=1"),  # type: ignore[arg-type]
        (lambda: Hedge(name=""), "name=''"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_it_is_written_as_it_was() -> None:
    assert repr(Hedge()) == "Hedge()"
    assert repr(Hedge(timedelta(seconds=2))) == "Hedge(2)"
    assert (
        repr(Hedge(percentile=0.99, attempts=3, budget=0.1, name="x"))
        == "Hedge(percentile=0.99, attempts=3, budget=0.1, name='x')"
    )
    assert repr(Hedge(0.1, budget=None)) == "Hedge(0.1, budget=None)"


def test_it_stands_once_around_a_call() -> None:
    hedge = Hedge(1)
    with pytest.raises(ConfigError, match="stands twice"):
        effect(hedge, hedge)(napped)


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        ((Hedge(1), Retry(on=OSError)), "is tried again by itself"),
        ((Hedge(1), Timeout(1)), "before another is due"),
        ((Hedge(1), Hedge(2)), "multiply"),
        ((Hedge(1), Fallback(lambda error: None, on=OSError)), "when all have failed"),
    ],
)
def test_an_unwise_order_is_warned_of(policies: tuple[Any, ...], says: str) -> None:
    assert says in " ".join(Pipeline(*policies, name="api").describe().split())


def test_a_wise_order_is_described() -> None:
    text = Pipeline(Timeout(5), Hedge(1, attempts=3), name="api").describe()
    assert "begins up to 2 others, one by one, beside an attempt that is not done after 1 s" in " ".join(text.split())
    assert "Warnings" not in text
    assert "slower than 95% of calls were" in Pipeline(Hedge(), name="api").describe()
