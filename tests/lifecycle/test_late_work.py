"""Work that accepted work submits while its runtime drains, or stops: it is drained in its turn, under one deadline."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from mountain_runtime import Key, Runtime, Shutdown, ShutdownReport, _native, blocking, effect
from mountain_runtime.errors import ShuttingDown

from .support import AT_ONCE, LONG, SOON, drains, forever, until

#: Of work that has no end, so many seconds are enough.
BRIEF = Shutdown(deadline=0.5, drain=0.1)


def outcomes(runtime: Runtime) -> dict[str, str]:
    assert runtime.report is not None
    return {step.name: step.outcome for step in runtime.report.steps}


@pytest.mark.parametrize("most", [None, 1], ids=["at once", "one at a time"])
async def test_accepted_work_submits_its_next_step(most: int | None) -> None:
    log: list[str] = []
    runtime = Runtime(max_in_flight=most)

    @effect
    async def step(left: int) -> None:
        await until(lambda: drains(runtime))
        await asyncio.sleep(0)
        log.append(f"step {left}")
        if left:
            runtime.submit(step(left - 1))
            runtime.submit(_native.trial_noop()).add_done_callback(lambda _: log.append("native"))

    async with runtime:
        runtime.submit(step(3))
        await asyncio.sleep(0)  # it has begun
    assert [line for line in log if line != "native"] == ["step 3", "step 2", "step 1", "step 0"]
    assert log.count("native") == 3
    assert runtime.report is not None
    assert runtime.report.ok


async def test_a_task_and_a_thread_of_accepted_work_submit_as_it_does() -> None:
    log: list[str] = []
    runtime = Runtime()

    @effect
    async def note(what: str) -> None:
        await asyncio.sleep(0)
        log.append(what)

    @blocking
    def on_thread() -> None:
        runtime.from_thread(note("from a thread"))

    async def child() -> None:
        runtime.submit(note("from a task"))

    @effect
    async def work() -> None:
        await until(lambda: drains(runtime))
        await asyncio.create_task(child())
        await on_thread()

    async with runtime:
        runtime.submit(work())
        await asyncio.sleep(0)  # it has begun
    assert sorted(log) == ["from a task", "from a thread"]


async def test_work_that_never_stops_submitting_is_cancelled_when_the_drain_ends() -> None:
    runtime = Runtime(shutdown=BRIEF)
    ended: list[int] = []

    @effect
    async def again(number: int) -> None:
        try:
            await asyncio.sleep(SOON)
            runtime.submit(again(number + 1))
        finally:
            ended.append(number)

    async with runtime:
        runtime.submit(again(0))
        begun = time.monotonic()  # uvloop's own clock counts whole milliseconds
    assert 0.1 <= time.monotonic() - begun < 0.1 + AT_ONCE
    assert outcomes(runtime)["drain"] == "timed_out"
    assert outcomes(runtime)["cancel"] == "done"
    assert ended == list(range(len(ended)))


async def test_cleanup_submits_work_that_ends_before_the_services() -> None:
    log: list[str] = []
    runtime = Runtime(shutdown=BRIEF)

    @asynccontextmanager
    async def store() -> AsyncGenerator[str]:
        yield "store"
        log.append("store closed")

    @effect
    async def save() -> None:
        await asyncio.sleep(0)
        log.append("saved")

    @effect
    async def work() -> None:
        try:
            await forever()
        finally:
            runtime.submit(save())

    async with runtime.provide(Key[str]("store"), store):
        runtime.submit(work())
        await asyncio.sleep(0)  # it has begun
    assert log == ["saved", "store closed"]


async def test_work_without_an_end_that_cleanup_submits_is_cancelled_too() -> None:
    log: list[str] = []
    runtime = Runtime(shutdown=Shutdown(deadline=0.5, drain=0))

    @effect
    async def endless() -> None:
        try:
            await forever()
        finally:
            log.append("cancelled")

    @effect
    async def work() -> None:
        try:
            await forever()
        finally:
            runtime.submit(endless())

    async with runtime:
        runtime.submit(work())
        await asyncio.sleep(0)  # it has begun
    assert log == ["cancelled"]
    assert outcomes(runtime)["cancel"] == "done"


async def test_what_is_deferred_submits_work_that_ends_before_the_services() -> None:
    log: list[str] = []
    runtime = Runtime()

    @asynccontextmanager
    async def store() -> AsyncGenerator[str]:
        yield "store"
        log.append("store closed")

    @effect
    async def save() -> None:
        await asyncio.sleep(0.001)  # longer than the deferred function
        log.append("saved")

    async def flush() -> None:
        runtime.submit(save())

    runtime.defer(flush)
    async with runtime.provide(Key[str]("store"), store):
        pass
    assert log == ["saved", "store closed"]
    assert [name for name in outcomes(runtime) if "late work" in name]


async def test_a_server_in_a_service_takes_nothing_new_while_it_may_still_await() -> None:
    """Its submitted work was not promised: else a drain under load would never end."""
    answers: list[object] = []
    runtime = Runtime()

    @effect
    async def handle(number: int) -> int:
        return number

    async def serve() -> None:
        await until(lambda: drains(runtime))
        answers.append(await handle(1))
        try:
            runtime.submit(handle(2))
        except ShuttingDown as error:
            answers.append(type(error))

    @asynccontextmanager
    async def server() -> AsyncGenerator[str]:
        serving = asyncio.create_task(serve())
        yield "server"
        await serving

    async with runtime.provide(Key[str]("server"), server):
        pass
    assert answers == [1, ShuttingDown]


async def test_a_runtime_that_is_closed_refuses_what_was_accepted_work() -> None:
    refused: list[object] = []
    closed = asyncio.Event()

    async def outlives() -> None:
        await closed.wait()
        try:
            runtime.submit(_native.trial_noop())
        except ShuttingDown as error:
            refused.append(error)

    @effect
    async def work() -> "asyncio.Task[None]":
        return asyncio.create_task(outlives())

    async with Runtime() as runtime:
        left = await runtime.submit(work())
    closed.set()
    await asyncio.wait_for(left, LONG)
    assert len(refused) == 1


def test_the_report_has_no_line_of_late_work_where_there_is_none() -> None:
    async def main() -> ShutdownReport:
        async with Runtime() as runtime:
            await runtime.submit(_native.trial_noop())
        assert runtime.report is not None
        return runtime.report

    assert "late" not in str(asyncio.run(main()))
