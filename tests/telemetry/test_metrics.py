"""What a scrape says: in both formats, of how many names, and as the statistics and the documentation say it."""

import asyncio
import gc
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Priority,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    _native,
    blocking,
    constant,
    effect,
    errors,
    priority,
)
from mountain_runtime._statistics import snapshot
from mountain_runtime.testing import VirtualClock
from tests.lifecycle.support import until

ROOT = Path(__file__).resolve().parents[2]


class Boom(Exception):
    """A failure of ours."""


def named(what: str = "metric") -> str:
    return f"{what} {uuid4().hex[:8]}"


def scraped(*, newer: bool = True) -> dict[str, Metric]:
    """All families by name, as Prometheus' own parser reads them."""
    text = _native.metrics_text(openmetrics=newer)
    families: Iterable[Metric] = openmetrics(text) if newer else prometheus(text)
    return {family.name: family for family in families}


def value(name: str, **labels: str) -> float:
    """One figure; what there is not is 0."""
    family = scraped()[re.sub(r"_(total|bucket|sum|count)$", "", name)]
    return sum(s.value for s in family.samples if s.name == name and labels.items() <= s.labels.items())


# -- the table ---------------------------------------------------------------------------------------------------


def test_the_documentation_lists_what_there_is() -> None:
    lines = (ROOT / "docs" / "reference" / "metrics.md").read_text().splitlines()
    documented = [line for line in lines if line.startswith("| `mountain_")]
    there = []
    for name, kind, labels, meaning in _native.metrics_catalogue():
        there.append(f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |")
    assert documented == there


@pytest.mark.parametrize("newer", [True, False])
async def test_a_scrape_has_what_the_catalogue_lists_and_nothing_else(newer: bool) -> None:
    limit = ConcurrencyLimit(2, name=named())

    @effect(RateLimit(100, per=1), CircuitBreaker(), Cache(ttl=1), limit, name=named())
    async def work() -> None:
        raise Boom

    with pytest.raises(Boom):
        await work()
    families = scraped(newer=newer)
    catalogue = {name: (kind, set(labels), meaning) for name, kind, labels, meaning in _native.metrics_catalogue()}
    assert set(families) == set(catalogue)
    for name, family in families.items():
        kind, labels, meaning = catalogue[name]
        assert family.type == kind
        assert family.documentation.rstrip(".") == meaning
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels


async def test_both_formats_have_the_same_figures() -> None:
    await effect(name=named())(asyncio.sleep)(0)
    newer, older = (
        {
            (s.name, *sorted(s.labels.items())): s.value
            for family in scraped(newer=is_newer).values()
            for s in family.samples
        }
        for is_newer in (True, False)
    )
    moving = {key for key in newer if key[0].startswith("mountain_threads")}  # those of the test before may end now
    assert {key: n for key, n in newer.items() if key not in moving} == {
        k: n for k, n in older.items() if k not in moving
    }


# -- effects -----------------------------------------------------------------------------------------------------


async def test_what_becomes_of_calls_is_what_the_statistics_say() -> None:
    name = named()
    outcome: list[BaseException | None] = []
    limit = ConcurrencyLimit(1, max_waiting=0)

    @effect(
        Fallback(lambda error: 0, on=KeyError),
        Retry(on=ConnectionError, attempts=3, backoff=constant(0)),
        limit,
        Timeout(0.05),
        name=name,
    )
    async def work() -> int:
        match outcome.pop(0):
            case None:
                return 1
            case TimeoutError() | asyncio.CancelledError():
                await asyncio.sleep(30)
                return 0
            case error:
                raise error

    async def ends(*planned: BaseException | None) -> BaseException | None:
        outcome[:] = planned
        try:
            await work()
        except BaseException as error:
            return error
        return None

    assert await ends(None) is None
    assert await ends(ConnectionError(), ConnectionError(), None) is None
    assert await ends(KeyError()) is None
    assert isinstance(await ends(Boom()), Boom)
    assert isinstance(await ends(ValueError()), ValueError)
    assert isinstance(await ends(ValueError()), ValueError)
    assert isinstance(await ends(TimeoutError(), TimeoutError(), TimeoutError()), errors.TimedOut)
    task = asyncio.ensure_future(ends(asyncio.CancelledError()))
    await asyncio.sleep(0)
    assert isinstance(await ends(), errors.QueueFull)
    # It is cancelled before its own time is over.
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)

    found = snapshot().effects[name]
    expected = {
        "started": 9,
        "succeeded": 3,
        "failed": 3,
        "timed_out": 1,
        "cancelled": 1,
        "rejected": 1,
        "retried": 4,
        "degraded": 1,
    }
    assert {field: getattr(found, field) for field in expected} == expected
    assert {field: value(f"mountain_effect_{field}_total", effect=name) for field in expected} == expected
    assert value("mountain_effect_failed_total", effect=name, error="ValueError") == 2
    assert value("mountain_effect_failed_total", effect=name, error=f"{Boom.__module__}.Boom") == 1
    # What never began took no time, and its end is an end all the same.
    assert value("mountain_effect_seconds_count", effect=name) == found.started


async def test_run_times_are_in_buckets_that_tell_them_apart(virtual_clock: VirtualClock) -> None:
    """O3: from 0.8 ms to 1.2 s there are buckets enough."""
    name = named()

    @effect(name=name)
    async def work(seconds: float) -> None:
        await asyncio.sleep(seconds)

    times = [0.0008, 0.003, 0.012, 0.05, 0.2, 0.7, 1.2]
    for seconds in times:
        await work(seconds)
    family = scraped()["mountain_effect_seconds"]
    mine = [sample for sample in family.samples if sample.labels.get("effect") == name]
    buckets = {float(s.labels["le"]): s.value for s in mine if s.name.endswith("_bucket")}
    bounds = sorted(buckets)
    counts = [buckets[bound] for bound in bounds]
    assert counts == sorted(counts)
    assert counts[-1] == len(times)
    assert sum(now > before for before, now in zip([0.0, *counts], counts, strict=False)) >= 5
    for bound in bounds:
        assert buckets[bound] == sum(seconds < bound for seconds in times)
    assert value("mountain_effect_seconds_sum", effect=name) == pytest.approx(sum(times), rel=0.01)
    assert bounds[0] <= 1e-5
    assert bounds[-2] > 120


def test_calls_of_many_loops_are_all_counted() -> None:
    name = named()

    @effect(name=name)
    async def work(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)

    async def many() -> None:
        for n in range(5000):
            await work(n % 10 == 0)

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(12)]  # more than have a part
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = snapshot().effects[name]
    assert (found.started, found.succeeded) == (60_000, 60_000)
    assert value("mountain_effect_seconds_count", effect=name) == 60_000


async def test_a_scrape_beside_heavy_work_is_read_whole() -> None:
    name, over = named(), threading.Event()
    seen: list[float] = []
    faults: list[BaseException] = []

    @effect(ConcurrencyLimit(10, name=named()), name=name)
    async def work() -> None:
        await asyncio.sleep(0)

    def scrape() -> None:
        try:
            while not over.is_set():
                seen.append(
                    sum(
                        s.value
                        for s in scraped()["mountain_effect_started"].samples
                        if s.labels["effect"] == name and s.name.endswith("_total")
                    )
                )
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=scrape)
    thread.start()
    while len(seen) < 3 and not faults:
        await asyncio.gather(*(work() for _ in range(500)))
    over.set()
    thread.join(30)
    assert faults == []
    assert seen == sorted(seen)


# -- policies ----------------------------------------------------------------------------------------------------


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


async def test_of_two_with_one_name_both_are_there_and_the_gone_are_gone() -> None:
    name = named("limit")
    limits = [ConcurrencyLimit(capacity, name=name) for capacity in (3, 5)]

    def capacities() -> dict[str, float]:
        samples = scraped()["mountain_limit_capacity"].samples
        return {s.labels["limit"]: s.value for s in samples if s.labels["limit"].startswith(name)}

    async def use() -> None:
        for limit in limits:
            await effect(limit, name=named())(asyncio.sleep)(0)

    await use()
    assert capacities() == {name: 3, f"{name}#2": 5}
    limits.clear()
    gc.collect()
    assert capacities() == {}


# -- the runtime -------------------------------------------------------------------------------------------------


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
        handles = [rt.submit(_native.sleep(0.001)) for _ in range(100)]
        time.sleep(0.1)  # real: the loop is to be late for what has ended natively meanwhile
        for handle in handles:
            await handle
    assert value("mountain_loop_lag_seconds_sum") > before + 0.05
    assert value("mountain_loop_drain_letters_count") > letters


# -- names -------------------------------------------------------------------------------------------------------


def run(program: str, **environment: str) -> str:
    """What a program of its own prints: the figures are of the process."""
    import os

    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=50,
        env=os.environ | environment,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


MANY = """
import asyncio, re, resource, sys
from mountain_runtime import ConcurrencyLimit, Runtime, _native, effect

count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000

async def work():
    pass

async def fails(kind):
    raise kind

async def main():
    async with Runtime() as rt:
        await effect(name="known")(work)()
        limits = []
        for n in range(count):
            await effect(name=f"made up {n}")(work)()
            if n % 50 == 0:
                limits.append(ConcurrencyLimit(1, name=f"limit {n}"))
                await effect(limits[-1], name="known")(work)()
                error = type(f"E{n}", (Exception,), {})
                await asyncio.gather(effect(name="fails")(fails)(error), return_exceptions=True)
            if n == count // 2:
                half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half
        text = _native.metrics_text(openmetrics=True)
        series = lambda name: len(re.findall(rf"^{name}(?:_total)?{{", text, re.M))
        figure = lambda pattern: int(re.search(pattern, text, re.M)[1])
        print(
            series("mountain_effect_started"), series("mountain_limit_capacity"), series("mountain_effect_failed"),
            figure(r'^mountain_effect_started_total{effect="known"} (\\d+)'),
            figure(r'^mountain_effect_started_total{effect="other"} (\\d+)'),
            figure(r'^mountain_names_folded_total{metric="effect"} (\\d+)'),
            figure(r'^mountain_names_folded_total{metric="policy"} (\\d+)'),
            rt.statistics().effects["known"].started, len(rt.statistics().effects), grown < 30_000,
        )

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize(("series", "bound"), [(None, 1000), ("10", 10)])
def test_a_hundred_thousand_names_are_a_bounded_number_of_series(series: str | None, bound: int) -> None:
    """O2. Those that were known before go on to be counted by their names, the others together."""
    environment = {} if series is None else {"MOUNTAIN_SERIES": series}
    effects, limits, failed, known, other, folded, policies, counted, listed, small = run(MANY, **environment).split()
    assert int(effects) <= bound + 1
    assert int(limits) <= bound
    assert int(failed) <= bound + 2
    assert int(known) == int(counted) == 2001
    assert int(other) + bound + 10 >= 100_000 > int(other)
    assert int(folded) >= 98_000
    assert int(policies) >= 2000 - bound
    assert int(listed) == int(effects)
    assert small == "True"


@pytest.mark.processes
def test_a_runtime_that_is_opened_three_times_has_each_series_once() -> None:
    output = run(
        """
        import asyncio
        from mountain_runtime import ConcurrencyLimit, Runtime, _native, effect

        @effect(ConcurrencyLimit(2, name="limit"), name="work")
        async def work():
            pass

        async def main():
            for _ in range(3):
                async with Runtime(dashboard="127.0.0.1:0") as rt:
                    await rt.submit(work())

        asyncio.run(main())
        lines = [line.rsplit(" ", 1)[0] for line in _native.metrics_text(openmetrics=True).splitlines()]
        print(len(lines) == len(set(lines)))
        print([line for line in _native.metrics_text(openmetrics=True).splitlines() if "succeeded" in line][-1])
        """
    )
    assert output == 'True\nmountain_effect_succeeded_total{effect="work"} 3\n'


HOSTILE = [
    "two\nlines",
    'a "quote"',
    "back\\slash",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "\u202e\x00\x1b[31m",
    "ü" * 300,
    '{a="b"} 1 # EOF',
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_are_names(hostile: str) -> None:
    mark = uuid4().hex[:8]
    name = f"{mark}{hostile}"
    kind = type(name.replace("\x00", ""), (Exception,), {})
    limit, breaker = ConcurrencyLimit(2, name=name), CircuitBreaker(name=name)

    @effect(Cache(ttl=1), breaker, limit, RateLimit(100, per=1), name=name)
    async def work() -> None:
        raise kind

    with pytest.raises(kind):
        await work()
    for newer in (True, False):
        families = scraped(newer=newer)
        for family, label in {
            "mountain_effect_failed": "effect",
            "mountain_limit_capacity": "limit",
            "mountain_breaker_opens": "breaker",
            "mountain_rate_waiting": "rate",
            "mountain_cache_size": "cache",
        }.items():
            mine = [s.labels[label] for s in families[family].samples if s.labels[label].startswith(mark)]
            assert len(set(mine)) == 1, family
            assert len(mine[0].encode()) <= 200
            assert mine[0] == name or (len(name.encode()) > 200 and name.startswith(mine[0].partition("…")[0]))


def test_names_must_be_text_that_there_is() -> None:
    with pytest.raises((UnicodeEncodeError, errors.ConfigError)):
        effect(name="\ud800")(asyncio.sleep)
