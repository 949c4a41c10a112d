"""The figures of effects in a scrape, in both formats; the documentation lists all of them."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Policy,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    _native,
    batch,
    constant,
    effect,
    errors,
    stream,
)
from mountain_runtime._runtime.statistics import snapshot
from mountain_runtime.testing import VirtualClock

from .scrapes import ROOT, Boom, named, samples, scraped, shown, value, without_others

# -- the table -----------------------------------------------------------------------------------------------------


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


# -- effects -------------------------------------------------------------------------------------------------------


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
    # A call that never began took no time, and its end is an end all the same.
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
    family = scraped(mark=name)["mountain_effect_seconds"]
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


# -- text ----------------------------------------------------------------------------------------------------------

#: Powers of two of nanoseconds, as docs/reference/metrics.md has them.
BOUNDS = [13, 15, 17, *range(19, 32), 33, 35, 37]


async def test_the_bounds_of_histograms_are_those_that_are_documented() -> None:
    name, limit, rate = named(), ConcurrencyLimit(1, name=named()), RateLimit(100, per=1)
    await effect(limit, rate, name=name)(asyncio.sleep)(0)

    async def items() -> AsyncIterator[int]:
        yield 1

    assert [item async for item in stream(name=name)(items)()] == [1]

    async def same(ids: list[int]) -> list[int]:
        return ids

    assert await batch(5, name=name)(same)(1) == 1
    _native.PoolFigures(name).effects([(name, [1, 1, *[0] * 6], 1000, [(0, 1)])])  # as a worker tells them
    router = _native.RouterFigures(name)
    order, here = router.command("order"), router.here()
    here.succeeded(order, here.begin(order))
    families = scraped()
    histograms = {metric for metric, family in families.items() if family.type == "histogram"}
    #: Of those that count, the power of two of the first bound.
    counts = {"mountain_loop_drain_letters": 3, "mountain_batch_items": 1}
    assert set(counts) < histograms
    for metric in histograms:
        bounds: dict[Any, list[float]] = {}
        for s in families[metric].samples:
            if s.name.endswith("_bucket"):
                of = tuple(sorted(item for item in s.labels.items() if item[0] != "le"))
                bounds.setdefault(of, []).append(float(s.labels["le"]))
        least = counts.get(metric)
        right = [2**n * 1e-9 for n in BOUNDS] if least is None else [2.0**n - 1 for n in range(least, 11)]
        assert bounds, metric
        assert all(found == [*right, float("inf")] for found in bounds.values()), metric


async def test_policies_of_every_kind_are_the_same_in_both_formats_and_gone_with_their_program() -> None:
    mark = named()
    policies: dict[str, Policy] = {
        "limit": ConcurrencyLimit(2, name=mark),
        "breaker": CircuitBreaker(name=mark),
        "rate": RateLimit(100, per=1),
        "cache": Cache(ttl=1),
    }
    labels = list(policies)
    for label in labels:
        await effect(policies[label], name=mark)(asyncio.sleep)(0)
    for label in labels:
        newer, older = (shown(label, mark, newer=is_newer) for is_newer in (True, False))
        families = scraped(mark=mark).items()
        there = {name for name, found in families if any(s.labels.get(label) == mark for s in found.samples)}
        assert there == {metric for metric, _, having, _ in _native.metrics_catalogue() if label in having}
        assert newer == older
        assert len({sample[:2] for sample in newer}) == len(newer)
    policies.clear()
    gc.collect()
    assert [shown(label, mark, newer=newer) for label in labels for newer in (True, False)] == [[]] * 8


def test_a_policy_is_there_whose_place_in_memory_was_that_of_another() -> None:
    """When a name is taken again the memory of its last owner goes to the next one."""
    lost = list[str]()
    for _ in range(20):
        name = named("again")
        ConcurrencyLimit(1, name=name)
        kept = {name: ConcurrencyLimit(2, name=name)}
        kept |= {other: ConcurrencyLimit(3, name=other) for other in (named("next") for _ in range(10))}
        there = {s.labels["limit"] for s in samples("mountain_limit_capacity")}
        lost += [each for each in kept if each not in there]
    assert lost == []


# -- beside work ---------------------------------------------------------------------------------------------------


def test_failures_by_their_types_are_all_counted_whoever_counts_them() -> None:
    name = named()
    kinds = [KeyError, ValueError, OSError, None]

    @effect(name=name)
    async def work(kind: type[Exception] | None) -> None:
        if kind is not None:
            raise kind

    async def many() -> None:
        for n in range(20_000):
            with contextlib.suppress(KeyError, ValueError, OSError):
                await work(kinds[n % 4])

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert value("mountain_effect_started_total", effect=name) == 80_000
    assert value("mountain_effect_succeeded_total", effect=name) == 20_000
    assert value("mountain_effect_seconds_count", effect=name) == 80_000
    for error in ("KeyError", "ValueError", "OSError"):
        assert value("mountain_effect_failed_total", effect=name, error=error) == 20_000


@pytest.mark.parametrize("many", [500, 3000], ids=["in one go", "in several goes"])
async def test_completions_that_a_loop_takes_are_counted_once(many: int) -> None:
    before = value("mountain_loop_drain_letters_sum")
    sleeps = [asyncio.ensure_future(_native.trial_sleep(0.001)) for _ in range(many)]
    await asyncio.sleep(0)
    time.sleep(0.2)  # real: all of them are to have ended natively before the loop looks
    await asyncio.gather(*sleeps)
    # Those of other tests may be among them.
    assert many <= value("mountain_loop_drain_letters_sum") - before <= many + 10
    counts = [s.value for s in samples("mountain_loop_drain_letters") if s.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == value("mountain_loop_drain_letters_count")


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
async def test_a_scrape_is_answered_while_the_loop_stands_still(accept: str) -> None:
    name, texts, over, enough = named(), list[str](), threading.Event(), threading.Semaphore(0)

    @effect(ConcurrencyLimit(10, name=named()), name=name)
    async def work() -> None:
        await asyncio.sleep(0)

    def scrape(url: str) -> None:
        with httpx.Client(timeout=5, trust_env=False, headers={"Accept": accept}) as client:
            while not over.is_set():
                answer = client.get(url)
                assert answer.status_code == 200
                texts.append(answer.text)
                enough.release()

    async with Runtime(dashboard="127.0.0.1:0") as rt:
        assert rt._page is not None
        scraping = asyncio.ensure_future(asyncio.to_thread(scrape, rt._page.url + "metrics"))
        try:
            for _ in range(5):
                await asyncio.gather(*(work() for _ in range(200)))
                while enough.acquire(blocking=False):
                    pass  # those that were answered beside the work
                # Two, as the first may have been asked for before.
                assert enough.acquire(timeout=10), "a scrape waits for the loop"
                assert enough.acquire(timeout=10), "a scrape waits for the loop"
        finally:
            over.set()
        await scraping
    parse = openmetrics if "openmetrics" in accept else prometheus
    seen = [
        sum(s.value for s in family.samples if s.labels["effect"] == name and s.name.endswith("_total"))
        for text in texts
        for family in parse(without_others(text, name))
        if family.name == "mountain_effect_started"
    ]
    assert len(seen) == len(texts) >= 10
    assert seen == sorted(seen)
    assert seen[-1] == 1000
