"""Spans: whose children they are, and what tracing costs a program that does not trace."""

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode, get_current_span

from mountain_runtime import (
    Timeout,
    _native,
    blocking,
    effect,
    fs,
    gather,
)

from .tracing import APART, Boom, Spans, attributes, fails, leaf, traces

# -- parents and children --------------------------------------------------------------------------------------


async def test_an_effect_has_a_span_of_its_name(spans: Spans) -> None:
    assert await leaf() == 1
    assert spans.names() == ["leaf"]
    assert spans.one("leaf").parent is None
    assert spans.one("leaf").status.status_code is StatusCode.UNSET


async def test_building_an_effect_makes_no_span(spans: Spans) -> None:
    leaf().close()
    assert spans.names() == []


async def test_an_effect_has_a_span_each_time_that_it_runs(spans: Spans) -> None:
    work = leaf()
    await work
    await work
    assert len({span.context.span_id for span in spans.named("leaf")}) == 2


async def test_the_applications_spans_are_parents_and_children(spans: Spans) -> None:
    @effect(name="middle")
    async def middle() -> None:
        with spans.tracer.start_as_current_span("below"):
            await asyncio.sleep(0)

    with spans.tracer.start_as_current_span("above"):
        await middle()
    assert [spans.parent(name) for name in ("above", "middle", "below")] == [None, "above", "middle"]


async def test_effects_nest(spans: Spans) -> None:
    @effect(name="middle")
    async def middle() -> int:
        return await leaf()

    @effect(name="outer")
    async def outer() -> int:
        await asyncio.sleep(0)
        return await middle()

    await outer()
    assert [spans.parent(name) for name in ("outer", "middle", "leaf")] == [None, "outer", "middle"]


@pytest.mark.parametrize("how", ["await", "task", "fails"])
async def test_after_an_effect_the_current_span_is_the_one_from_before(spans: Spans, how: str) -> None:
    with spans.tracer.start_as_current_span("above") as above:
        if how == "await":
            await leaf()
        elif how == "task":
            await asyncio.create_task(leaf())
        else:
            with pytest.raises(Boom):
                await fails()
        assert get_current_span() is above
    assert not get_current_span().get_span_context().is_valid


async def test_inside_an_effect_its_span_is_the_current_one_on_every_step(spans: Spans) -> None:
    seen = []

    @effect(name="steps")
    async def steps() -> None:
        for _ in range(3):
            seen.append(get_current_span().get_span_context().span_id)
            await leaf()

    await asyncio.gather(steps(), steps())
    ids = {span.context.span_id for span in spans.named("steps")}
    assert {seen.count(each) for each in ids} == {3}
    assert set(seen) == ids


async def both(work: Sequence[Any], how: str) -> None:
    if how == "asyncio.gather":
        await asyncio.gather(*work)
    elif how == "gather":
        await gather(*work)
    elif how == "create_task":
        for task in [asyncio.create_task(each) for each in work]:
            await task
    else:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)


@pytest.mark.parametrize("how", ["asyncio.gather", "gather", "create_task", "TaskGroup"])
async def test_siblings_are_children_of_who_starts_them(spans: Spans, how: str) -> None:
    @effect(name="brother")
    async def brother(number: int) -> None:
        await asyncio.sleep(0)
        with spans.tracer.start_as_current_span(f"below {number}"):
            await asyncio.sleep(0)
        get_current_span().set_attribute("number", number)

    with spans.tracer.start_as_current_span("above") as above:
        await both([brother(number) for number in range(3)], how)
        assert get_current_span() is above
    assert len(spans.named("brother")) == 3
    above_them = {span.context.span_id: attributes(span)["number"] for span in spans.named("brother")}
    for number in range(3):
        below = spans.one(f"below {number}")
        assert below.parent is not None
        assert above_them[below.parent.span_id] == number
    for span in spans.named("brother"):
        found = spans.parent_of(span)
        if found != "above":  # our own gather may have a span of its own between
            assert found is not None
            assert spans.parent(found) == "above"


async def test_a_task_that_outlives_its_parent_keeps_the_trace(spans: Spans) -> None:
    tasks = []

    async def later() -> None:
        await asyncio.sleep(0.01)
        with spans.tracer.start_as_current_span("late"):
            await leaf()

    @effect(name="starts")
    async def starts() -> None:
        tasks.append(asyncio.create_task(later()))

    await starts()
    assert spans.names() == ["starts"]  # it has been delivered before the child begins
    await tasks[0]
    assert [spans.parent(name) for name in ("leaf", "late")] == ["late", "starts"]


async def test_spans_of_a_blocking_function_are_children_of_its_span(spans: Spans) -> None:
    threads = []

    @blocking(name="in a thread")
    def works() -> None:
        threads.append(threading.current_thread())
        with spans.tracer.start_as_current_span("inside"):
            pass

    with spans.tracer.start_as_current_span("above"):
        await works()
    assert threads[0] is not threading.main_thread()
    assert [spans.parent(name) for name in ("inside", "in a thread")] == ["in a thread", "above"]


async def test_a_thread_that_outlives_its_parent_keeps_the_trace(spans: Spans) -> None:
    began, go, done = threading.Event(), threading.Event(), threading.Event()

    @blocking(Timeout(60), name="in a thread")
    def works() -> None:
        began.set()
        go.wait(5)
        with spans.tracer.start_as_current_span("late"):
            pass
        done.set()

    parent = asyncio.ensure_future(works())
    while not began.is_set():
        await asyncio.sleep(0.001)  # real: a thread begins
    parent.cancel()
    await asyncio.wait([parent])
    assert spans.names() == ["in a thread"]
    go.set()
    assert done.wait(5)
    assert spans.parent("late") == "in a thread"


# -- native work -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sleep", "noop", "read_text"])
async def test_native_work_has_a_span_within_its_parents(spans: Spans, kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    make = {
        "sleep": lambda: _native.trial_sleep(0.001),
        "noop": lambda: _native.trial_noop(1),
        "read_text": lambda: fs.read_text(tmp_path / "file"),
    }[kind]

    @effect(name="outer")
    async def outer() -> None:
        await make()

    with spans.tracer.start_as_current_span("above"):
        await outer()
    above, around = spans.one("above"), spans.one("outer")
    [work] = [span for span in spans.all() if span not in (above, around)]
    assert kind in work.name
    assert spans.parent_of(work) == "outer"
    assert spans.parent_of(around) == "above"
    times = [above.start_time, around.start_time, work.start_time, work.end_time, around.end_time, above.end_time]
    for earlier, later in itertools.pairwise(times):
        assert earlier is not None
        assert later is not None
        assert earlier <= later + APART
    assert work.start_time is not None
    assert work.end_time is not None
    assert work.start_time <= work.end_time
    if kind == "sleep":
        assert work.end_time - work.start_time >= 1_000_000


async def test_native_work_that_is_gathered_natively_has_its_parent(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("above"):
        assert await gather(_native.trial_noop(1), _native.trial_noop(2)) == (1, 2)
    roots = [span.name for span in spans.all() if span.parent is None]
    assert roots == ["above"]


async def test_native_work_that_fails_says_so(spans: Spans, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await fs.read_text(tmp_path / "none")
    [span] = spans.all()
    assert attributes(span)["error.type"] == "FileNotFoundError"
    assert span.status.status_code is StatusCode.ERROR


# -- without tracing -------------------------------------------------------------------------------------------


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    ).stdout


@pytest.mark.processes
def test_without_tracing_nothing_of_it_is_imported() -> None:
    program = """
import asyncio, sys
import mountain_runtime
from mountain_runtime import Runtime, effect

@effect
async def work():
    return 1

async def main():
    async with Runtime():
        await work()

asyncio.run(work())
asyncio.run(main())
found = [name for name in sys.modules if name.startswith("opentelemetry")]
print(found, "mountain_runtime.telemetry._spans" in sys.modules)
"""
    assert run(program) == "[] False\n"


@pytest.mark.processes
def test_tracing_that_is_set_up_before_the_first_effect_has_spans() -> None:
    """With the API's public way to set it up, and what ended at last is delivered at the end of the program."""
    program = """
import asyncio
from mountain_runtime import effect
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

class Prints(SpanExporter):
    def export(self, spans):
        print([span.name for span in spans])

@effect
async def work():
    return 1

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Prints()))
trace.set_tracer_provider(provider)
asyncio.run(work())
"""
    assert run(program) == "['work']\n"


async def test_when_tracing_is_off_again_no_spans_are_made() -> None:
    with traces() as spans:
        pass
    assert await leaf() == 1
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert spans.names() == []
