"""The stop of services: whatever fails or hangs, in its share of the time, and the rest goes on."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mountain_runtime import Key, Runtime, Shutdown, ShutdownReport, Step, _native, blocking, effect
from mountain_runtime.errors import ConfigError, ShuttingDown, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, Boom, Log, fails, forever, stubborn


def report_of(runtime: Runtime) -> ShutdownReport:
    assert runtime.report is not None
    return runtime.report


def step_of(runtime: Runtime, name: str) -> Step:
    [step] = [step for step in report_of(runtime).steps if step.name == name]
    return step


async def test_an_error_is_recorded_and_the_rest_goes_on(virtual_clock: VirtualClock) -> None:
    """S6: an error does not wait out a timeout."""
    log, loop, boom = Log(), asyncio.get_running_loop(), Boom("b")
    runtime = log.provided(Runtime(), "a")
    runtime.provide(Key[str]("b"), log.service("b", "a", stopping=fails(boom)), stop_timeout=5)
    log.provided(runtime, "c", "b")
    async with runtime:
        begun = loop.time()
    assert loop.time() - begun < 0.1
    assert log[-6:] == ["c gone", "b stops", "b: Boom", "b gone", "a stops", "a gone"]
    step = step_of(runtime, "stop b")
    assert (step.outcome, step.error) == ("failed", boom)
    assert not report_of(runtime).ok
    with pytest.raises(ExceptionGroup) as caught:
        report_of(runtime).raise_if_failed()
    assert caught.value.exceptions == (boom,)


async def test_a_stop_that_hangs_is_cancelled_then_left_behind_within_its_share(virtual_clock: VirtualClock) -> None:
    """S5, S6: dependents end first; times do not add up, and those below still have their own."""
    log, loop = Log(), asyncio.get_running_loop()
    runtime = Runtime(shutdown=Shutdown(deadline=12, drain=0))
    log.provided(runtime, "a")
    log.provided(runtime, "b", "a", stopping=forever)
    log.provided(runtime, "c", "b", stopping=stubborn)
    async with runtime:
        begun = loop.time()
    assert loop.time() - begun == pytest.approx(4 + 8 / 2 * 0.8, abs=0.2)
    hung, late = step_of(runtime, "stop c"), step_of(runtime, "stop b")
    assert (hung.outcome, late.outcome, step_of(runtime, "stop a").outcome) == ("abandoned", "timed_out", "done")
    assert hung.took == pytest.approx(4, abs=0.1)
    assert "in stubborn" in str(hung.error)
    assert "in forever" in str(late.error)
    found = json.loads(report_of(runtime).to_json())
    assert any("in stubborn" in line for step in found["steps"] for line in step["where"])
    assert log[-2:] == ["a stops", "a gone"]


async def test_independent_stops_that_hang_take_the_time_of_one(virtual_clock: VirtualClock) -> None:
    log, loop = Log(), asyncio.get_running_loop()
    runtime = Runtime(shutdown=Shutdown(deadline=10, drain=0))
    for name in "abcdefgh":
        runtime.provide(Key[str](name), log.service(name, stopping=forever), stop_timeout=2)
    async with runtime:
        begun = loop.time()
    assert loop.time() - begun == pytest.approx(2 * 0.8, abs=0.1)


async def test_work_and_its_cleanup_end_before_what_they_depend_on_closes(virtual_clock: VirtualClock) -> None:
    log = Log()

    @effect
    async def works() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            log.append("work tidied")

    runtime = log.provided(Runtime(shutdown=Shutdown(drain=1)), "a")
    async with runtime:
        runtime.submit(works())
    assert log.index("work tidied") < log.index("a stops")


async def test_a_cleanup_that_never_ends_leaves_services_their_time(virtual_clock: VirtualClock) -> None:
    log, loop = Log(), asyncio.get_running_loop()

    @effect(name="never tidy")
    async def works() -> None:
        try:
            await forever()
        finally:
            await stubborn(1)

    runtime = log.provided(Runtime(shutdown=Shutdown(deadline=10, drain=0)), "a", stopping=lambda: asyncio.sleep(3))
    async with runtime:
        runtime.submit(works())
        await asyncio.sleep(0)
        begun = loop.time()
    assert loop.time() - begun <= 10
    assert step_of(runtime, "stop a").outcome == "done"
    step = step_of(runtime, "cancel")
    assert step.outcome == "abandoned"
    assert "never tidy" in str(step.error)
    assert "in stubborn" in str(step.error)


async def test_a_thread_that_never_comes_back_leaves_services_their_time_and_says_where_it_stands() -> None:
    """S1. Real time: a thread sleeps for real."""
    log, release = Log(), threading.Event()

    @blocking(name="stuck")
    def stuck() -> None:
        release.wait(LONG)

    runtime = log.provided(Runtime(threads=1, shutdown=Shutdown(deadline=0.6, drain=0)), "a")
    begun = time.monotonic()
    async with runtime:
        runtime.submit(stuck())
        await asyncio.sleep(0.05)
    release.set()
    assert time.monotonic() - begun < 0.6 + 1
    step = step_of(runtime, "threads")
    assert step.outcome == "abandoned"
    assert "stuck" in str(step.error)
    assert "in stuck" in str(getattr(step.error, "__notes__", None))
    assert step_of(runtime, "stop a").outcome == "done"


async def test_a_task_group_inside_a_service_is_left_in_the_task_that_entered_it() -> None:
    log = Log()

    async def worker() -> None:
        try:
            await forever()
        finally:
            log.append("worker gone")

    @asynccontextmanager
    async def make() -> AsyncGenerator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(worker())
            yield group
            task.cancel()

    async with Runtime().provide(Key[asyncio.TaskGroup]("group"), make) as runtime:
        await asyncio.sleep(0)
    assert log == ["worker gone"]
    assert report_of(runtime).ok, str(runtime.report)


async def test_a_service_whose_inside_fails_is_failed_and_the_report_says_so(caplog: pytest.LogCaptureFixture) -> None:
    go = asyncio.Event()

    async def worker() -> None:
        await go.wait()
        raise Boom("inside")

    @asynccontextmanager
    async def make() -> AsyncGenerator[int]:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker())
            yield 1

    key = Key[int]("group")
    async with Runtime().provide(key, make) as runtime:
        assert runtime.health().ready
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
        health = runtime.health()
        assert not health.ready
        assert health.services["group"].state == "failed"
        assert "Boom" in str(health.services["group"].reason)
    step = step_of(runtime, "stop group")
    assert step.outcome == "failed"
    assert isinstance(step.error, ExceptionGroup)
    assert "service group has failed" in caplog.text


# -- defer -----------------------------------------------------------------------------------------------------------


async def test_what_is_deferred_runs_last_first_when_no_work_is_left_and_services_are_up(
    virtual_clock: VirtualClock,
) -> None:
    log = Log()

    def deferred(name: str, then: Any = None) -> Any:
        async def run() -> None:
            log.append(f"{name} with {runtime.get(Key[str]('a'))}")
            if then is not None:
                await then()

        run.__qualname__ = name
        return run

    async def fail() -> None:
        raise Boom("deferred")

    runtime = log.provided(Runtime(shutdown=Shutdown(deadline=10)), "a")
    async with runtime:
        runtime.defer(deferred("one"))
        runtime.defer(deferred("two", fail))
        runtime.defer(deferred("three", forever))
    assert log.of("one", "two", "three", "a")[-5:] == ["three with a", "two with a", "one with a", "a stops", "a gone"]
    assert [step_of(runtime, f"defer {name}").outcome for name in ("one", "two", "three")] == [
        "done", "failed", "timed_out",
    ]  # fmt: skip
    assert isinstance(step_of(runtime, "defer three").error, TimedOut)
    with pytest.raises(ShuttingDown):
        runtime.defer(deferred("late"))
    with pytest.raises(ConfigError):
        Runtime().defer(3)  # type: ignore[arg-type]


async def test_what_is_deferred_may_use_effects_whoever_began_the_end() -> None:
    """It is accepted work: what it awaits is admitted until the teardown."""
    log = Log()

    @effect
    async def save(n: int) -> None:
        await asyncio.sleep(0)
        log.append(f"saved {n}")

    async def last() -> None:
        await save(await _native.trial_noop(1))

    async with Runtime() as runtime:
        runtime.defer(last)
        runtime._begin_close(drain=True)  # type: ignore[unused-awaitable] # as a signal does, in another context
    assert log == ["saved 1"]
    assert report_of(runtime).ok, str(runtime.report)


async def test_an_awaitable_that_tells_nothing_of_itself_hides_only_itself(virtual_clock: VirtualClock) -> None:
    class Secret:
        def __await__(self) -> Any:
            yield from asyncio.sleep(LONG).__await__()

        def __getattr__(self, name: str) -> Any:
            raise Boom(name)

    async def hides() -> None:
        await Secret()

    log = Log()
    runtime = Runtime(shutdown=Shutdown(deadline=2, drain=0))
    log.provided(runtime, "a")
    log.provided(runtime, "b", "a", stopping=hides)
    async with runtime:
        pass
    assert "in hides" in str(getattr(step_of(runtime, "stop b").error, "__notes__", None))
    assert log[-2:] == ["a stops", "a gone"]


async def test_the_native_parts_end_in_their_order() -> None:
    async with Runtime(workers=1) as runtime:
        pass
    names = [step.name for step in report_of(runtime).steps if step.name.startswith("native")]
    assert names == [f"native {part}" for part in ("admission", "port", "timers", "threads", "tokio")]
