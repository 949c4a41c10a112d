"""The report of a shutdown: its steps in order, what failed, what was left behind."""

import asyncio
import json
import threading

import pytest

from mountain_runtime import Runtime, Shutdown, ShutdownReport, Step, _native, blocking, effect

from .support import AT_ONCE, LONG, SOON, Program, drains, execute, until


async def closed(*, stuck: bool) -> ShutdownReport:
    """The report of a runtime that had work to drain, or of one that could not."""
    release, begun = threading.Event(), threading.Event()

    @blocking(name="stuck-in-get")
    def gets() -> None:
        begun.set()
        release.wait(LONG)

    async with Runtime(shutdown=Shutdown(deadline=0.5, drain=0.3)) as runtime:
        if stuck:
            runtime.submit(gets())
            await until(begun.is_set)
        runtime.submit(_native.trial_sleep(5 * SOON))
    release.set()
    assert runtime.report is not None
    await until(lambda: _native.statistics()["abandoned_threads"] == 0)
    return runtime.report


async def test_its_steps_are_timed_and_in_order() -> None:
    report = await closed(stuck=False)
    assert report.ok
    assert len(report.steps) >= 3
    assert all(isinstance(step, Step) and step.name for step in report.steps)
    assert [step.outcome for step in report.steps] == ["done"] * len(report.steps)
    assert [step.error for step in report.steps] == [None] * len(report.steps)
    started = [step.started for step in report.steps]
    assert started == sorted(started)
    assert all(step.started >= 0 and step.took >= 0 for step in report.steps)
    assert any(SOON / 2 < step.took < AT_ONCE for step in report.steps)  # the drain, which had something to wait for
    report.raise_if_failed()


async def test_it_can_be_read_by_people_and_programs() -> None:
    for stuck in (False, True):
        report = await closed(stuck=stuck)
        text = str(report)
        for step in report.steps:
            assert step.name in text
        data = json.loads(report.to_json())
        assert data["ok"] is report.ok is not stuck
        assert [step["name"] for step in data["steps"]] == [step.name for step in report.steps]
        assert [step["outcome"] for step in data["steps"]] == [step.outcome for step in report.steps]
        assert [step["took"] for step in data["steps"]] == pytest.approx([step.took for step in report.steps], abs=0.01)


async def test_what_was_left_behind_is_named() -> None:
    report = await closed(stuck=True)
    assert not report.ok
    assert "stuck-in-get" in str(report)
    assert "stuck-in-get" in report.to_json()
    left = [step for step in report.steps if step.outcome == "abandoned"]
    assert left
    with pytest.raises(ExceptionGroup) as failed:
        report.raise_if_failed()
    assert "stuck-in-get" in str(failed.value) + "".join(map(str, failed.value.exceptions))


async def test_an_exception_out_of_the_body_has_a_report_too() -> None:
    runtime = Runtime(shutdown=Shutdown(deadline=1))
    with pytest.raises(KeyError):
        async with runtime:
            runtime.submit(_native.trial_sleep(LONG))
            raise KeyError
    assert runtime.report is not None
    assert runtime.report.ok


async def test_phases_come_in_the_order_of_the_page() -> None:
    """Refuse, drain, cancel and await the cleanup, and only then the native teardown."""
    log: list[str] = []
    runtime = Runtime(shutdown=Shutdown(deadline=2, drain=0.1))

    @effect
    async def work() -> None:
        log.append("taken")
        await until(lambda: drains(runtime))
        log.append("draining")
        try:
            await asyncio.sleep(LONG)
        finally:
            log.append("cancelled")
            log.append(f"native work still runs: {await _native.trial_noop(1)}")

    async with runtime:
        runtime.submit(work())
        await asyncio.sleep(SOON)  # it has begun
    assert log == ["taken", "draining", "cancelled", "native work still runs: 1"]


STUCK = """
jobs = queue.Queue()
begun = threading.Event()

@blocking(name="stuck-in-get")
def stuck():
    begun.set()
    jobs.get()

async def main(runtime):
    runtime.submit(stuck())
    await asyncio.to_thread(begun.wait)
    print("ready")
    return "returned"

runtime = Runtime(shutdown=Shutdown(deadline=1, drain=0.5))
print(run(main, runtime=runtime))
print(runtime.report)
try:
    runtime.submit(_native.trial_noop())
except errors.ShuttingDown as error:
    print("late:", error)
"""


@pytest.mark.processes
def test_a_thread_stuck_in_get_holds_up_nothing() -> None:
    """S1."""
    ended = Program(STUCK).wait_for("ready").end().quietly()
    assert ended.took < 3
    assert ended.lines[0] == "returned"
    assert "stuck-in-get" in "\n".join(ended.lines[1:-1])
    assert ended.lines[-1].startswith("late:")
    assert "closed" in ended.lines[-1]


@pytest.mark.processes
def test_run_prints_no_report_of_its_own_accord_when_all_is_well() -> None:
    ended = execute("async def main(runtime): return 5\nprint(run(main))").quietly()
    assert ended.lines == ["5"]
    assert ended.said == ""
