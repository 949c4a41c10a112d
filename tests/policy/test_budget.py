"""RetryBudget: what many calls share, and what is raised when nothing is left of it."""

import asyncio
import threading
from typing import Any

import pytest

from mountain_runtime import Cache, Retry, RetryBudget, Timeout, _native, constant, effect
from mountain_runtime.errors import ConfigError, TimedOut

from .support import LONG, SOON, Boom, Calls, forever, outcome

NOW = constant(0)


def again(budget: RetryBudget, **settings: Any) -> Retry:
    return Retry(on=(Boom, OSError), attempts=4, backoff=NOW, budget=budget, **settings)


async def test_with_none_left_the_failure_is_raised_as_it_is() -> None:
    boom = Boom("as it is")
    calls = Calls(boom)
    with pytest.raises(Boom) as raised:
        await effect(again(RetryBudget(ratio=0, min_per_second=0)))(calls)()
    assert raised.value is boom
    assert calls.count == 1
    assert not hasattr(boom, "__notes__")


async def test_min_per_second_is_for_ten_seconds_together() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.5)  # five in ten seconds
    counts = []
    for _ in range(4):
        calls = Calls(Boom)
        await outcome(effect(again(budget))(calls)())
        counts.append(calls.count)
    assert counts == [4, 3, 1, 1]


async def test_each_call_earns_its_part() -> None:
    budget = RetryBudget(ratio=0.1, min_per_second=0)
    works = effect(again(budget))(asyncio.sleep)
    for _ in range(19):
        await works(0)
    calls = Calls(Boom)
    await outcome(effect(again(budget))(calls)())  # the twentieth: two may be tried again
    assert calls.count == 3
    calls = Calls(Boom)
    await outcome(effect(again(budget))(calls)())
    assert calls.count == 1


async def test_it_is_shared_by_sharing_the_object() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    one, two, alone = Calls(Boom), Calls(Boom), Calls(Boom)
    await outcome(effect(again(budget))(one)())
    await outcome(effect(again(budget))(two)())
    await outcome(effect(again(RetryBudget(ratio=0, min_per_second=0.1)))(alone)())
    assert (one.count, two.count, alone.count) == (2, 1, 2)


def test_it_is_shared_among_threads_and_loops() -> None:
    budget = RetryBudget(ratio=0, min_per_second=2)  # twenty in ten seconds
    calls = [Calls(Boom) for _ in range(8)]

    def thread(mine: Calls) -> None:
        async def main() -> None:
            call = effect(again(budget))(mine)
            await asyncio.gather(*[outcome(call()) for _ in range(25)])

        asyncio.run(main())

    threads = [threading.Thread(target=thread, args=(mine,)) for mine in calls]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(mine.count for mine in calls) == 8 * 25 + 20


async def test_time_that_ran_out_and_delays_of_a_server_cost_the_same() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    counted: list[int] = []

    async def hangs() -> None:
        counted.append(1)
        await forever()

    with pytest.raises(TimedOut):
        await effect(again(budget), Timeout(SOON))(hangs)()
    assert len(counted) == 2
    calls = Calls(Boom)
    await outcome(effect(Retry(on=lambda _: 0.0, budget=budget))(calls)())
    assert calls.count == 1


async def test_what_is_not_tried_again_anyway_costs_nothing() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    for _ in range(10):
        await outcome(effect(again(budget))(Calls(KeyError("not named")))())
        await outcome(effect(Retry(on=Boom, attempts=1, budget=budget))(Calls(Boom))())
        await outcome(effect(Timeout(SOON), Retry(on=Boom, backoff=constant(LONG), budget=budget))(Calls(Boom))())
    calls = Calls(Boom)
    await outcome(effect(again(budget))(calls)())
    assert calls.count == 2


async def test_infinite_is_no_limit() -> None:
    for budget in (RetryBudget(ratio=float("inf")), RetryBudget(ratio=0, min_per_second=float("inf"))):
        for _ in range(20):
            calls = Calls(Boom, Boom, Boom, then_value=True)
            assert await effect(again(budget))(calls)() == 4


async def test_native_effects() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    work = _native.trial_fail(2).under(Retry(on=FileNotFoundError, attempts=4, backoff=NOW, budget=budget))
    assert _native.is_native(work)
    first, second = await outcome(work), await outcome(work)
    assert any("2 times" in note for note in first.__notes__)
    assert not hasattr(second, "__notes__")


async def test_within_a_cache_a_flight_is_one_call() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    calls = Calls(Boom)
    get = effect(Cache(ttl=LONG), again(budget))(calls)
    await asyncio.gather(*[outcome(get()) for _ in range(10)])
    assert calls.count == 2


@pytest.mark.parametrize("setting", ["ratio", "min_per_second"])
@pytest.mark.parametrize("value", [-1, float("nan"), "1", None, True])
def test_settings_that_cannot_work(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"RetryBudget\({setting}=.*must be a number, 0 or more"):
        RetryBudget(**{setting: value})


def test_only_a_budget_is_one() -> None:
    for budget in (0.1, RetryBudget, "budget"):
        with pytest.raises(ConfigError, match=r"Retry\(budget=.*must be a RetryBudget"):
            Retry(on=Boom, budget=budget)  # type: ignore[arg-type]


def test_it_is_written_as_it_was_made() -> None:
    assert repr(RetryBudget()) == "RetryBudget(ratio=0.1, min_per_second=1)"
    assert repr(RetryBudget(name="all")) == "RetryBudget(ratio=0.1, min_per_second=1, name='all')"
    assert "budget=RetryBudget(ratio=0.5, min_per_second=0)" in repr(
        Retry(on=Boom, budget=RetryBudget(ratio=0.5, min_per_second=0))
    )
