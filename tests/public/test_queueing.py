"""The model of a pool: against what queueing theory says, and at its limits."""

import math
import random
import statistics
import sys
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benches/ is no part of the package

from benches.queueing import AHEAD, SHORT, Costs, Predicted, predict, quantile

NOTHING = Costs(caller=0, manager=0, each=0, wake=0, worker=0, message=0)
SOME = Costs(
    caller=40e-6, manager=60e-6, each=1e-6, wake=10e-6, worker=30e-6, message=20e-6, byte_here=1e-9, byte_there=2e-9
)


def at_once(costs: Costs, workers: int, calls: int, work: float, **more: int) -> Predicted:
    return predict(costs, workers, [0.0] * calls, [work] * calls, **more)


def by_chance(rate: float, calls: int, seed: int = 1) -> list[float]:
    """Arrivals without a pattern, so many a second on the average."""
    random_ = random.Random(seed)
    return list(accumulate(random_.expovariate(rate) for _ in range(calls)))


def waits(predicted: Predicted, work: list[float]) -> float:
    return statistics.fmean(latency - took for latency, took in zip(predicted.latencies, work, strict=True))


def test_a_call_by_itself_takes_the_sum_of_its_parts() -> None:
    alone = at_once(SOME, 3, 1, 0.01, size=1_000_000)
    assert alone.took == pytest.approx(0.01 + 40e-6 + 60e-6 + 3e-6 + 4 * 10e-6 + 30e-6 + 2 * 20e-6 + 1e-3 + 2e-3)
    assert alone.latencies == (alone.took,)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_what_costs_nothing_is_divided_by_the_workers(workers: int) -> None:
    course = at_once(NOTHING, workers, 7 * 20, 0.5)
    assert course.took == pytest.approx(7 * 20 * 0.5 / workers)
    assert course.rate == pytest.approx(workers / 0.5)
    assert (course.busy_here, course.busy_there) == (0, pytest.approx(1))
    assert max(course.latencies) == pytest.approx(course.took)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
def test_one_worker_with_equal_calls_is_as_in_theory(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) of a call's work."""
    work = [1.0] * 40_000
    course = predict(NOTHING, 1, by_chance(load, len(work)), work)
    assert waits(course, work) == pytest.approx(load / (2 * (1 - load)), rel=0.08)
    assert course.busy_there == pytest.approx(load, rel=0.03)


def test_some_workers_with_calls_of_any_length_are_as_in_theory() -> None:
    """M/M/4: the mean wait is by Erlang's formula."""
    load = 2.8
    none, all_busy = sum(load**n / math.factorial(n) for n in range(4)), load**4 / math.factorial(4) * 4 / (4 - load)
    random_ = random.Random(2)
    work = [random_.expovariate(1) for _ in range(40_000)]
    course = predict(NOTHING, 4, by_chance(load, len(work)), work)
    assert waits(course, work) == pytest.approx(all_busy / (none + all_busy) / (4 - load), rel=0.15)


def test_many_workers_are_bounded_by_the_one_interpreter_of_their_caller() -> None:
    bound = 1 / (SOME.caller + SOME.manager + 1000 * SOME.each)
    course = at_once(SOME, 1000, 20_000, 0.01)
    assert course.rate == pytest.approx(bound, rel=0.02)
    assert course.busy_here > 0.98
    assert course.busy_there < 0.1


def test_more_workers_are_never_slower_while_looking_at_them_costs_nothing() -> None:
    free = Costs(caller=40e-6, manager=60e-6, each=0, wake=0, worker=30e-6, message=20e-6)
    rates = [at_once(free, workers, 4000, 0.005).rate for workers in (1, 2, 4, 16, 64, 256, 1000)]
    assert all(more > less * 0.999 for less, more in pairwise(rates))
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.01)
    assert rates[-1] == pytest.approx(10_000, rel=0.02)


def test_a_worker_may_have_several_calls_at_a_time() -> None:
    several = at_once(NOTHING, 2, 800, 0.1, per_worker=4)
    assert several.took == pytest.approx(at_once(NOTHING, 8, 800, 0.1).took)
    assert several.busy_there == pytest.approx(1)


def test_short_calls_do_not_wait_for_messages() -> None:
    slow = Costs(caller=0, manager=0, each=0, wake=0, worker=0, message=0.001)
    short = at_once(slow, 1, 10 * AHEAD, SHORT)
    assert short.took == pytest.approx(10 * AHEAD * SHORT + 0.002)
    longer = at_once(slow, 1, 10, SHORT * 2)
    assert longer.took == pytest.approx(10 * (SHORT * 2 + 0.002))


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], part) for part in (0.0, 0.5, 0.99, 1.0)] == [1.0, 2.0, 3.0, 3.0]
