"""The counters of a runtime: each end of an effect once, and the work under way."""

import asyncio
import threading

import pytest

from mountain_runtime import (
    Cache,
    EffectStatistics,
    Retry,
    Runtime,
    Statistics,
    Timeout,
    _native,
    blocking,
    constant,
    effect,
)
from mountain_runtime.errors import Rejected, TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, forever, until


def counts(found: EffectStatistics) -> dict[str, int]:
    names = ("started", "succeeded", "failed", "timed_out", "cancelled", "retried", "rejected")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of this test's own: effects of one name are counted together, in all of the process."""
    return f"counted in {request.node.name}"


async def test_each_end_is_counted_once_under_its_name(name: str) -> None:
    @effect(Timeout(SOON), Retry(on=Boom, attempts=3, backoff=constant(0)), name=name)
    async def work(kind: str) -> None:
        await asyncio.sleep(0)
        match kind:
            case "fail":
                raise KeyError
            case "retry":
                raise Boom
            case "hang":
                await forever()
            case "reject":
                raise Rejected("full")

    async with Runtime() as runtime:
        await work("succeed")
        await runtime.submit(work("succeed"))
        for kind, error in (("fail", KeyError), ("retry", Boom), ("hang", TimedOut), ("reject", Rejected)):
            with pytest.raises(error):
                await work(kind)
        task = asyncio.create_task(work("hang"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        found = runtime.statistics()
    assert isinstance(found, Statistics)
    row = found.effects[name]
    assert isinstance(row, EffectStatistics)
    assert counts(row) == {
        "started": 7,
        "succeeded": 2,
        "failed": 2,
        "timed_out": 1,
        "cancelled": 1,
        "retried": 2,
        "rejected": 1,
    }
    assert 0 < row.p50 <= row.p99 < AT_ONCE


async def test_retries_inside_a_cache_are_the_calls_own(name: str) -> None:
    """One run for two who ask has tried three times."""
    tries = 0

    @effect(Cache(ttl=60), Retry(on=Boom, attempts=3, backoff=constant(0)), name=name)
    async def work() -> int:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries < 3:
            raise Boom
        return tries

    assert await asyncio.gather(work(), work()) == [3, 3]
    async with Runtime() as runtime:
        assert counts(runtime.statistics().effects[name]) == {"started": 2, "succeeded": 2, "retried": 2}


async def test_native_work_is_counted_alike() -> None:
    async with Runtime() as runtime:
        before = runtime.statistics().effects
        had = {each: counts(before[each]) if each in before else {} for each in ("noop", "fail", "sleep")}
        for n in range(10):
            await _native.trial_noop(n)
        with pytest.raises(OSError, match="error"):
            await _native.trial_fail(5).under(Retry(on=OSError, attempts=4, backoff=constant(0)))
        with pytest.raises(TimedOut):
            await _native.trial_sleep(LONG).under(Timeout(SOON))
        task = asyncio.create_task(_native.trial_sleep(LONG))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        after = runtime.statistics().effects
    gained = {
        each: {key: n - had[each].get(key, 0) for key, n in counts(after[each]).items() if n != had[each].get(key, 0)}
        for each in had
    }
    assert gained["noop"] == {"started": 10, "succeeded": 10}
    assert gained["fail"] == {"started": 1, "failed": 1, "retried": 3}
    assert gained["sleep"] == {"started": 2, "timed_out": 1, "cancelled": 1}


async def test_a_snapshot_does_not_change(name: str) -> None:
    @effect(name=name)
    async def work() -> None: ...

    async with Runtime() as runtime:
        await work()
        found = runtime.statistics()
        await work()
        assert found.effects[name].started == 1
        assert runtime.statistics().effects[name].started == 2


async def test_what_runs_and_waits_now() -> None:
    async with Runtime() as runtime:
        idle = runtime.statistics()
        handles = [runtime.submit(_native.trial_sleep(LONG)) for _ in range(5)] + [
            runtime.submit(effect(forever)()) for _ in range(3)
        ]
        await asyncio.sleep(SOON)  # all have begun
        busy = runtime.statistics()
        assert busy.running + busy.waiting - idle.running - idle.waiting == 8
        for handle in handles:
            handle.cancel()
        await until(
            lambda: (runtime.statistics().running, runtime.statistics().waiting) == (idle.running, idle.waiting)
        )


async def test_threads_that_were_left_to_themselves_are_a_gauge() -> None:
    release = threading.Event()

    @blocking(Timeout(SOON))
    def stuck() -> None:
        release.wait(LONG)

    async with Runtime() as runtime:
        assert runtime.statistics().abandoned_threads == 0
        for _ in range(2):
            with pytest.raises(TimedOut):
                await stuck()
        assert runtime.statistics().abandoned_threads == 2
        release.set()
        await until(lambda: runtime.statistics().abandoned_threads == 0)
