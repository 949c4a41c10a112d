"""The storm over one Cache at full size."""

import gc
import random
import warnings
from typing import Any

import pytest

from tests.conftest import EVERY
from tests.property.flight_storm import Caller, Loop, Storm


def plan(dice: random.Random, leaves: list[Any], ends: list[Any]) -> list[Loop]:
    def caller() -> Caller:
        return Caller(dice.randrange(5), dice.randrange(10), dice.choice(leaves), dice.randrange(8))

    return [Loop([caller() for _ in range(100)], dice.choice(ends)) for _ in range(6)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("loop", EVERY)
@pytest.mark.parametrize("seed", range(30))
def test_storm(loop: str, seed: int) -> None:
    """Six loops with a hundred callers each, for five keys; some loops are closed with all that waits on them.

    On one loop alone, no run goes on when its last caller has gone.
    """
    dice, all_ways = random.Random(seed), ["stays", "cancelled", "timed out"]
    closed = ["runs out", "cancels", "drops"]
    for leaves, ends, anchored, loops in (
        (all_ways, ["runs out"], True, 6),
        (all_ways, closed, False, 6),
        (["stays"], closed, False, 6),
        (all_ways, ["runs out"], False, 1),
    ):
        storm = Storm(plan(dice, leaves, ends)[:loops], anchored, EVERY[loop])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a loop that is dropped leaves unawaited
            storm.play()
            gc.collect()
        assert storm.wrong == []
