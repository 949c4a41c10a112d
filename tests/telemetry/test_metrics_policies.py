"""The figures of policies, threads and loops in a scrape."""

import asyncio
import gc
import threading
import time

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Hedge,
    Priority,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    _native,
    blocking,
    constant,
    effect,
    priority,
)
from mountain_runtime._runtime.statistics import snapshot
from mountain_runtime.testing import VirtualClock
from tests.lifecycle.support import until

from .scrapes import Boom, named, samples, value

# -- policies ------------------------------------------------------------------------------------------------------


async def test_limits(virtual_clock: VirtualClock) -> None:
    name = named("limit")
    limit = ConcurrencyLimit(2, name=name)

    @effect(limit, name=named())
    async def work() -> None:
        await asyncio.sleep(1)

    tasks = [asyncio.ensure_future(work()) for _ in range(3)]
    with priority(Priority.HIGH):
        tasks.append(asyncio.ensure_future(work()))
    await virtual_clock.advance(0.25)
    found = snapshot().limits[name]
    assert value("mountain_limit_capacity", limit=name) == 2
    assert value("mountain_limit_in_flight", limit=name) == found.in_flight == 2
    for each in Priority:
        waiting = value("mountain_limit_waiting", limit=name, priority=each.name.lower())
        assert waiting == found.waiting[each] == {Priority.LOW: 0, Priority.NORMAL: 1, Priority.HIGH: 1}[each]
    await asyncio.gather(*tasks)
    assert value("mountain_limit_wait_seconds_count", limit=name) == 2
    assert value("mountain_limit_wait_seconds_sum", limit=name) == pytest.approx(2, rel=0.01)
    assert value("mountain_limit_in_flight", limit=name) == 0


async def test_rates(virtual_clock: VirtualClock) -> None:
    name = named("rate")
    rate = RateLimit(1, per=10)

    @effect(rate, name=name)
    async def work() -> None:
        pass

    tasks = [asyncio.ensure_future(work()) for _ in range(3)]
    await virtual_clock.advance(1)
    assert value("mountain_rate_waiting", rate=name) == 2
    await asyncio.gather(*tasks)
    assert value("mountain_rate_waiting", rate=name) == 0
    assert value("mountain_rate_wait_seconds_count", rate=name) == 2
    assert value("mountain_rate_wait_seconds_sum", rate=name) == pytest.approx(30, rel=0.01)


async def test_breakers(virtual_clock: VirtualClock) -> None:
    name = named("breaker")
    breaker = CircuitBreaker(name=name, failures=1, cooldown=10, key=lambda key: key)

    @effect(breaker, name=named())
    async def work(key: str) -> None:
        if key != "good":
            raise Boom

    for key in ("bad", "worse", "good"):
        await asyncio.gather(work(key), return_exceptions=True)
    breaker.isolate("alone")
    states = {"closed": 0.0, "open": 2.0, "half_open": 0.0, "isolated": 1.0}  # a key at rest is forgotten
    assert {state: value("mountain_breaker_keys", breaker=name, state=state) for state in states} == states
    assert value("mountain_breaker_opens_total", breaker=name) == 2
    await virtual_clock.advance(11)
    await asyncio.gather(work("bad"), return_exceptions=True)
    assert value("mountain_breaker_opens_total", breaker=name) == 3


async def test_caches(virtual_clock: VirtualClock) -> None:
    name = named("cache")
    cache = Cache(ttl=10, stale=100, max_size=2)

    @effect(cache, name=name)
    async def work(key: int) -> int:
        return key

    for key in (1, 1, 2, 3):
        await work(key)
    await virtual_clock.advance(20)
    await work(3)
    await virtual_clock.advance(1)
    found = cache.statistics()
    pairs = {
        "hits_total": "hits",
        "stale_hits_total": "stale_hits",
        "misses_total": "misses",
        "evicted_total": "evicted",
        "size": "size",
    }
    for metric, field in pairs.items():
        assert value(f"mountain_cache_{metric}", cache=name) == found[field], metric
    assert value("mountain_cache_hits_total", cache=name) == 1
    assert value("mountain_cache_stale_hits_total", cache=name) == 1
    assert value("mountain_cache_evicted_total", cache=name) == 1


async def test_hedges(virtual_clock: VirtualClock) -> None:
    name = named("hedge")
    hedge = Hedge(0.1, budget=RetryBudget(ratio=0, min_per_second=0.2), name=name)  # two in ten seconds
    takes = iter([1, 0.01, 0.15, 1, 0.2])

    @effect(hedge, name=named())
    async def call() -> None:
        await asyncio.sleep(next(takes))

    for _ in range(3):
        await call()
    assert value("mountain_hedge_hedged_total", hedge=name) == 2
    assert value("mountain_hedge_won_total", hedge=name) == 1
    assert value("mountain_hedge_refused_total", hedge=name) == 1
    assert value("mountain_hedge_delay_seconds", hedge=name) == 0.1
    observed = named("hedge")
    effect(Hedge(name=observed))(call)
    delays = {sample.labels["hedge"] for sample in samples("mountain_hedge_delay_seconds")}
    assert name in delays
    assert observed not in delays, "not known yet"


async def test_budgets() -> None:
    name = named("budget")
    budget = RetryBudget(ratio=0, min_per_second=0.2, name=name)  # two in ten seconds

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0), budget=budget), name=named())
    async def fails() -> None:
        raise Boom

    for _ in range(5):
        await asyncio.gather(fails(), return_exceptions=True)
    assert value("mountain_budget_granted_total", budget=name) == 2
    assert value("mountain_budget_refused_total", budget=name) == 3


async def test_of_two_with_one_name_both_are_there_and_the_gone_are_gone() -> None:
    name = named("limit")
    limits = [ConcurrencyLimit(capacity, name=name) for capacity in (3, 5)]

    def capacities() -> dict[str, float]:
        mine = samples("mountain_limit_capacity")
        return {s.labels["limit"]: s.value for s in mine if s.labels["limit"].startswith(name)}

    async def use() -> None:
        for limit in limits:
            await effect(limit, name=named())(asyncio.sleep)(0)

    await use()
    assert capacities() == {name: 3, f"{name}#2": 5}
    limits.clear()
    gc.collect()
    assert capacities() == {}


# -- the runtime ---------------------------------------------------------------------------------------------------


async def test_what_runs_and_waits() -> None:
    limit = ConcurrencyLimit(1)
    release = asyncio.Event()

    @effect(limit, name=named())
    async def work() -> None:
        await release.wait()

    tasks = [asyncio.ensure_future(work()) for _ in range(3)]
    await asyncio.sleep(0.01)
    found = snapshot()
    assert value("mountain_effects_running") == found.running >= 1
    assert value("mountain_effects_waiting") == found.waiting >= 2
    release.set()
    await asyncio.gather(*tasks)


async def test_threads_that_are_busy_and_that_are_abandoned() -> None:
    go = threading.Event()

    @blocking(name=named())
    def work() -> None:
        go.wait(30)

    busy, abandoned = value("mountain_threads_busy"), value("mountain_threads_abandoned")
    task = asyncio.ensure_future(work())
    try:
        await until(lambda: value("mountain_threads_busy") == busy + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert value("mountain_threads_abandoned") == abandoned + 1
    finally:
        go.set()
    await until(lambda: value("mountain_threads_abandoned") == abandoned)
    await until(lambda: value("mountain_threads_busy") == busy)


async def test_the_lag_of_a_loop_that_is_held_up_and_what_it_takes_in_one_go() -> None:
    before, letters = value("mountain_loop_lag_seconds_sum"), value("mountain_loop_drain_letters_count")
    async with Runtime() as rt:
        handles = [rt.submit(_native.trial_sleep(0.001)) for _ in range(100)]
        time.sleep(0.1)  # real: the loop is to be late for what has ended natively meanwhile
        for handle in handles:
            await handle
    assert value("mountain_loop_lag_seconds_sum") > before + 0.05
    assert value("mountain_loop_drain_letters_count") > letters
