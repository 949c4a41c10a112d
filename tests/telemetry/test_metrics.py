"""What a scrape says of effects, in both formats, and that the documentation lists all of it."""

import asyncio
import threading

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    RateLimit,
    Retry,
    Timeout,
    _native,
    constant,
    effect,
    errors,
)
from mountain_runtime._statistics import snapshot
from mountain_runtime.testing import VirtualClock

from .scrapes import ROOT, Boom, named, scraped, value

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
