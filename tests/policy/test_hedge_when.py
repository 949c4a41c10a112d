"""The time at which a hedge begins another attempt: fixed or observed, and within its budget."""

import asyncio

import pytest

from mountain_runtime import Hedge, Retry, RetryBudget, effect
from mountain_runtime.errors import ConfigError
from mountain_runtime.testing import VirtualClock
from tests.effect.support import LONG
from tests.policy.hedged import LATER, Attempts, ends

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


async def napped(seconds: float, host: str = "") -> str:
    await asyncio.sleep(seconds)
    return host


async def test_none_begins_before_a_hundred_calls_were_seen() -> None:
    hedge = Hedge(budget=None)
    nap = effect(hedge)(napped)
    for n in range(100):
        assert hedge.delay() is None
        await nap(LONG if n == 50 else 0.01)
    assert hedge.statistics() == {"hedged": 0, "won": 0, "refused": 0}
    assert hedge.delay() == pytest.approx(0.01, rel=0.26)


async def test_the_slow_ones_of_many_are_hedged() -> None:
    hedge = Hedge(percentile=0.9, budget=None)
    attempts: list[int] = []

    @effect(hedge)
    async def ask(n: int) -> None:
        attempts.append(n)
        slow = n % 20 == 0 and attempts.count(n) == 1
        await asyncio.sleep(1 if slow else 0.01)

    loop = asyncio.get_running_loop()
    for n in range(200):
        await ask(n)
    begun = loop.time()
    for n in range(200, 300):
        await ask(n)
    assert loop.time() - begun < 1.2, "five slow ones of a second each were not waited for"
    statistics = hedge.statistics()
    assert statistics["hedged"] == statistics["won"] == 10
    assert hedge.delay() == pytest.approx(0.01, rel=0.26), "those that lost count as slow, and the others as ever"


async def test_each_key_has_an_observed_time_of_its_own() -> None:
    hedge = Hedge(budget=None, key=lambda seconds, host: host)
    nap = effect(hedge)(napped)
    for _ in range(100):
        await nap(0.01, "near")
        await nap(1, "far")
    await nap(1, "new")
    assert hedge.delay("near") == pytest.approx(0.01, rel=0.26)
    assert hedge.delay("far") == pytest.approx(1, rel=0.26)
    assert hedge.delay("new") is hedge.delay("never called") is None
    with pytest.raises(ConfigError, match="is for one key"):
        hedge.delay()
    with pytest.raises(ConfigError, match="got the key"):
        Hedge().delay("near")


async def test_an_idle_key_is_forgotten(virtual_clock: VirtualClock) -> None:
    hedge = Hedge(budget=None, key=lambda seconds, host: host)
    nap = effect(hedge)(napped)
    for _ in range(100):
        await nap(0.01, "near")
    assert hedge._hedge.keys == 1
    await asyncio.sleep(550)
    assert hedge.delay("near") is not None
    await asyncio.sleep(700)
    assert hedge._hedge.keys == 0
    assert hedge.delay("near") is None


async def test_what_is_shared_is_observed_together() -> None:
    hedge = Hedge(budget=None)
    one, other = effect(hedge)(napped), effect(hedge)(napped)
    for _ in range(50):
        await one(0.01)
        await other(0.01)
    assert hedge.delay() is not None


async def test_without_a_budget_left_the_first_goes_on_alone() -> None:
    """M8."""
    hedge = Hedge(LATER, budget=0)
    made = Attempts(LATER * 3)
    assert await made.hedged(hedge=hedge)() == 0
    assert hedge.statistics() == {"hedged": 0, "won": 0, "refused": 1}


async def test_the_default_budget_is_five_percent_and_one_in_ten_seconds() -> None:
    hedge = Hedge(LATER)
    nap = effect(hedge)(napped)
    for _ in range(10):
        await nap(LATER * 2)
    assert hedge.statistics()["hedged"] == 1
    await asyncio.sleep(11)
    for _ in range(1000):
        await nap(0)
    for _ in range(100):
        await nap(LATER * 1.01)
    assert 50 <= hedge.statistics()["hedged"] - 1 <= 57
    assert hedge.statistics()["refused"] > 0


async def test_a_budget_is_shared_with_retries() -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    hedge = Hedge(LATER, budget=budget)
    await ends(Attempts(0, 0, fails=2).under(Retry(on=ValueError, budget=budget))())
    await Attempts(LATER * 2).hedged(hedge=hedge)()
    assert hedge.statistics() == {"hedged": 0, "won": 0, "refused": 1}


async def test_an_endless_wait_is_none() -> None:
    assert await Attempts(LONG).hedged(hedge=Hedge(float("inf"), budget=None))() == 0
