"""Dumps of the work under way: by `rt.dump()`, on SIGUSR1, and in a report that ran out of time."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Dump,
    Effect,
    Retry,
    Runtime,
    Shutdown,
    blocking,
    constant,
    effect,
    gather,
)
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.testing import VirtualClock
from tests.lifecycle.support import LONG, SOON, Program, forever, until


@effect(name="inner")
async def inner() -> None:
    await forever()


@effect(name="outer")
async def outer() -> None:
    await inner()


@asynccontextmanager
async def under_way(*work: Effect[Any]) -> AsyncIterator[Runtime]:
    """A runtime in which this goes on, each in a task of its own."""
    async with Runtime(shutdown=Shutdown(drain=0)) as rt:
        tasks = [asyncio.ensure_future(each) for each in work]
        await asyncio.sleep(SOON)
        try:
            yield rt
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def named(dump: Dump, name: str) -> list[Mapping[str, Any]]:
    return [each for each in dump.effects if each["name"] == name]


def one(dump: Dump, name: str) -> Mapping[str, Any]:
    [found] = named(dump, name)
    return found


async def test_where_nothing_is_under_way_it_says_so() -> None:
    async with Runtime() as rt:
        assert rt.dump().effects == ()
        assert str(rt.dump()) == "0 effects are under way, 0 of which wait"


async def test_an_effect_in_another_s_code_stands_inside_it_each_with_its_own_lines() -> None:
    async with under_way(outer()) as rt:
        dump = rt.dump()
        around, within = dump.effects
        assert (around["name"], around["inside"]) == ("outer", None)
        assert (within["name"], within["inside"]) == ("inner", 0)
        assert "in outer" in around["stack"][-1]
        assert "in forever" in within["stack"][-1]
        assert not any("in forever" in line for line in around["stack"])
        assert {each["state"] for each in dump.effects} == {"running"}
        text = str(dump)
        assert text.index("outer: running") < text.index("  inner: running")


async def test_one_that_waits_says_on_which_policy() -> None:
    limit = ConcurrencyLimit(1, name="desk")

    @effect(limit, name="served")
    async def served() -> None:
        await forever()

    async with under_way(served(), served()) as rt:
        dump = rt.dump()
        states = {each["state"]: each["on"] for each in named(dump, "served")}
        assert states["running"] is None
        assert "desk" in states["waiting"]
        assert "served: waiting on ConcurrencyLimit(1, name='desk')" in str(dump)
        assert "2 effects are under way, 1 of which waits" in str(dump)


async def test_one_that_backs_off_says_which_attempt_has_failed() -> None:
    @effect(Retry(on=ValueError, attempts=3, backoff=constant(LONG)), name="flaky")
    async def flaky() -> None:
        raise ValueError

    async with under_way(flaky()) as rt:
        found = one(rt.dump(), "flaky")
        assert found["state"] == "backing off"
        assert "Retry" in found["on"]
        assert found["attempt"] == 1


async def test_a_later_attempt_is_told() -> None:
    attempts = 0

    @effect(Retry(on=ValueError, attempts=3, backoff=constant(0)), name="flaky")
    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ValueError
        await forever()

    async with under_way(flaky()) as rt:
        assert one(rt.dump(), "flaky")["attempt"] == 3
        assert ", attempt 3" in str(rt.dump())


async def test_the_age_is_that_of_the_runtime_s_clock(virtual_clock: VirtualClock) -> None:
    async with under_way(outer()) as rt:
        await virtual_clock.advance(90)
        assert one(rt.dump(), "outer")["age"] == pytest.approx(90 + SOON, abs=0.1)


async def test_native_work_that_was_submitted_is_told_once() -> None:
    async with Runtime(shutdown=Shutdown(drain=0)) as rt:
        handle = rt.submit(sleep(LONG))
        waiter = asyncio.ensure_future(handle)
        await asyncio.sleep(SOON)
        assert [each["state"] for each in named(rt.dump(), "sleep")] == ["running"]
        handle.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert rt.dump().effects == ()


async def test_parts_of_a_gather_are_all_there() -> None:
    async with under_way(gather(inner(), sleep(LONG), outer())) as rt:
        dump = rt.dump()
        assert len(named(dump, "inner")) == 2
        assert named(dump, "outer")


async def test_a_blocking_function_shows_where_its_thread_is() -> None:
    go = threading.Event()

    def deep() -> None:
        go.wait(LONG)

    @blocking(name="works")
    def works() -> None:
        deep()

    async with under_way(works()) as rt:
        try:
            await until(lambda: any("in deep" in line for line in one(rt.dump(), "works")["stack"]))
            found = one(rt.dump(), "works")
            assert found["state"] == "in a thread"
            assert found["task"] is not None
        finally:
            go.set()


async def test_a_thread_whose_caller_has_gone_is_told_too() -> None:
    go = threading.Event()

    @blocking(name="left")
    def left() -> None:
        go.wait(LONG)

    async with Runtime(shutdown=Shutdown(drain=0)) as rt:
        task = asyncio.ensure_future(left())
        await asyncio.sleep(SOON)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            found = one(rt.dump(), "left")
            assert (found["state"], found["task"]) == ("in a thread", None)
            assert found["age"] >= SOON / 2
        finally:
            go.set()


async def test_the_oldest_comes_first() -> None:
    async with under_way() as rt:
        tasks = []
        for name in ("first", "second", "third"):
            tasks.append(asyncio.ensure_future(effect(name=name)(forever)()))
            await asyncio.sleep(SOON)
        assert [each["name"] for each in rt.dump().effects] == ["first", "second", "third"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_it_may_be_taken_from_another_thread_while_the_loop_is_stuck() -> None:
    taken: list[Dump] = []

    async with under_way(outer()) as rt:

        @effect(name="stuck")
        async def stuck() -> None:
            looker = threading.Thread(target=lambda: taken.append(rt.dump()))
            looker.start()
            looker.join(LONG)  # the loop stands here

        await asyncio.create_task(stuck())
    assert {each["name"] for each in taken[0].effects} >= {"outer", "inner"}
    at_work = taken[0].effects[0]
    assert (at_work["name"], at_work["state"], at_work["age"]) == ("stuck", "running", None)
    assert any("in stuck" in line for line in at_work["stack"])
    assert "stuck: running, in Task-" in str(taken[0])


async def test_a_dump_whose_names_take_long_holds_no_wake_up_back() -> None:
    """A key's own repr is Python code, in which other threads have their turn."""
    looking, go_on = threading.Event(), threading.Event()

    class Key:
        def __call__(self) -> str:
            return "one"

        def __repr__(self) -> str:
            looking.set()
            go_on.wait(LONG)
            return "slowly"

    limit = ConcurrencyLimit(1, key=Key())
    release = asyncio.Event()

    @effect(limit, name="served")
    async def served() -> None:
        await release.wait()

    async with Runtime() as rt:
        tasks = [asyncio.ensure_future(served()) for _ in range(2)]
        await asyncio.sleep(SOON)
        looker = threading.Thread(target=rt.dump)
        looker.start()
        try:
            assert await asyncio.to_thread(looking.wait, LONG)
            release.set()
            async with asyncio.timeout(5):
                await asyncio.gather(*tasks)
        finally:
            go_on.set()
            looker.join(LONG)


async def test_a_dump_keeps_nothing_alive_and_is_plain_data() -> None:
    async with under_way(outer()) as rt:
        dump = rt.dump()
    assert json.loads(json.dumps([dict(each) for each in dump.effects]))[0]["name"] == "outer"


async def test_names_of_any_kind_stay_on_their_line() -> None:
    async with under_way(effect(name="two\nlines")(forever)()) as rt:
        assert str(rt.dump()).splitlines()[1].startswith("two\\nlines: running")


# -- when it is stuck ------------------------------------------------------------------------------------------

STUCK = """
@effect(name="stuck")
async def stuck():
    await asyncio.get_running_loop().create_future()

async def main(rt):
    work = asyncio.ensure_future(stuck())
    # Not before both are suspended: what is printed here could be answered while this still runs.
    asyncio.get_running_loop().call_later(0.05, functools.partial(print, "ready", flush=True))
    await rt.wait_stopping()
"""


@pytest.mark.serial
@pytest.mark.processes
def test_sigusr1_writes_it_to_stderr_and_the_program_goes_on() -> None:
    program = Program(STUCK + "\nrun(main, runtime=Runtime(shutdown=Shutdown(drain=0)))")
    program.wait_for("ready").signal(signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM, apart=0.3)
    ended = program.end()
    asked_for, _, report = ended.said.partition("shutdown incomplete")
    assert asked_for.count("1 effect is under way, 0 of which waits") == 2
    assert asked_for.count("stuck: running") == 2
    assert "in stuck" in asked_for
    assert "stuck: running" in report


@pytest.mark.processes
@pytest.mark.parametrize("held", ["time.sleep(1)", "while time.monotonic() < end: pass"])
def test_sigusr1_is_answered_while_the_loop_is_held_up(held: str) -> None:
    source = f"""
@effect(name="greedy")
async def greedy():
    end = time.monotonic() + 1
    print("ready", flush=True)
    {held}
    print("goes on", flush=True)

async def main(rt):
    await asyncio.create_task(greedy())

run(main)
"""
    program = Program(source).wait_for("ready").signal(signal.SIGUSR1)
    ended = program.end().quietly()
    assert ended.lines == ["goes on"]
    assert "greedy: running, in Task-" in ended.said
    assert "in greedy" in ended.said


@pytest.mark.serial
@pytest.mark.processes
def test_a_program_that_handles_sigusr1_goes_on_to_do_so() -> None:
    source = STUCK + (
        "\nsignal.signal(signal.SIGUSR1, lambda *_: print('mine', flush=True))"
        "\nrun(main, runtime=Runtime(shutdown=Shutdown(drain=0)))"
    )
    ended = Program(source).wait_for("ready").signal(signal.SIGUSR1, signal.SIGTERM, apart=0.3).end()
    assert "mine" in ended.lines
    assert "under way" not in ended.said.partition("shutdown incomplete")[0]


async def test_a_report_that_ran_out_of_time_says_what_was_under_way() -> None:
    @effect(name="stubborn")
    async def stubborn() -> None:
        while True:
            try:
                await forever()
            except asyncio.CancelledError:
                if done.is_set():
                    raise

    done = asyncio.Event()
    rt = Runtime(shutdown=Shutdown(deadline=0.2, drain=0.05))
    async with rt:
        handle = rt.submit(stubborn())
        await asyncio.sleep(SOON)
    report = rt.report
    done.set()
    handle.cancel()
    await asyncio.gather(handle, return_exceptions=True)
    assert report is not None
    assert not report.ok
    text = str(report)
    assert "when the time first ran out:" in text
    assert "stubborn: running" in text
    assert "in stubborn" in text
    [told] = json.loads(report.to_json())["under_way"]
    assert told["name"] == "stubborn"


async def test_a_report_of_an_end_in_time_has_none() -> None:
    rt = Runtime()
    async with rt:
        await effect(name="quick")(asyncio.sleep)(0)
    assert rt.report is not None
    assert "when the time" not in str(rt.report)
    assert json.loads(rt.report.to_json())["under_way"] == []
