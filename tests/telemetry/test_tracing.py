"""Spans: whose children they are, what they tell, which are sampled, and what tracing may not do to an effect."""

import asyncio
import contextlib
import gc
import itertools
import logging
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, get_current_span, use_span

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Retry,
    Timeout,
    _native,
    blocking,
    constant,
    effect,
    errors,
    fs,
    gather,
)
from mountain_runtime.telemetry import _logs, _otel

from .tracing import Spans, attributes, dropped, traces

#: A time of day and the engine's clock are read one after the other: nanoseconds that may lie between.
APART = 1_000_000


class Boom(Exception):
    """A failure of ours."""


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traces() as made:
        yield made


@effect(name="leaf")
async def leaf() -> int:
    await asyncio.sleep(0)
    return 1


@effect(name="fails")
async def fails() -> None:
    raise Boom("it broke")


# -- parents and children ------------------------------------------------------------------------------------


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
    go, done = threading.Event(), threading.Event()

    @blocking(Timeout(0.01), name="in a thread")
    def works() -> None:
        go.wait(5)
        with spans.tracer.start_as_current_span("late"):
            pass
        done.set()

    with pytest.raises(errors.TimedOut):
        await works()
    assert spans.names() == ["in a thread"]
    go.set()
    assert done.wait(5)
    assert spans.parent("late") == "in a thread"


# -- native work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sleep", "noop", "read_text"])
async def test_native_work_has_a_span_within_its_parents(spans: Spans, kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    make = {
        "sleep": lambda: _native.sleep(0.001),
        "noop": lambda: _native.noop(1),
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
        assert await gather(_native.noop(1), _native.noop(2)) == (1, 2)
    roots = [span.name for span in spans.all() if span.parent is None]
    assert roots == ["above"]


async def test_native_work_that_fails_says_so(spans: Spans, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await fs.read_text(tmp_path / "none")
    [span] = spans.all()
    assert attributes(span)["error.type"] == "FileNotFoundError"
    assert span.status.status_code is StatusCode.ERROR


# -- retries -------------------------------------------------------------------------------------------------


def flaky(spans: Spans, fail: int, *policies: Any) -> Any:
    count = 0

    @effect(*policies, name="flaky")
    async def call() -> None:
        nonlocal count
        count += 1
        with spans.tracer.start_as_current_span(f"inside {count}"):
            await asyncio.sleep(0)
        if count <= fail:
            raise Boom(f"failure {count}")

    return call


RETRY = Retry(on=Boom, attempts=3, backoff=constant(0.001))


async def test_each_attempt_is_a_child(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts = spans.named("flaky attempt")
    assert [attributes(span)["mountain.attempt"] for span in attempts] == [1, 2, 3]
    assert {spans.parent_of(span) for span in attempts} == {"flaky"}
    assert attributes(spans.one("flaky"))["mountain.attempts"] == 3


async def test_attempts_that_failed_say_why(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts = spans.named("flaky attempt")
    boom = f"{Boom.__module__}.Boom"
    assert [attributes(span).get("error.type") for span in attempts] == [boom, boom, None]
    assert [span.status.status_code.name for span in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert "error.type" not in attributes(spans.one("flaky"))


async def test_the_last_attempt_fails_as_its_call_does(spans: Spans) -> None:
    with pytest.raises(Boom):
        await flaky(spans, 9, RETRY)()
    boom = f"{Boom.__module__}.Boom"
    assert [attributes(span).get("error.type") for span in spans.named("flaky attempt")] == [boom] * 3
    assert attributes(spans.one("flaky"))["error.type"] == boom


async def test_code_in_an_attempt_is_the_attempts_child(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    for number, attempt in enumerate(spans.named("flaky attempt"), 1):
        inside = spans.one(f"inside {number}")
        assert inside.parent is not None
        assert inside.parent.span_id == attempt.context.span_id
        assert attempt.start_time is not None
        assert inside.start_time is not None
        assert attempt.start_time <= inside.start_time + APART


async def test_attempts_come_one_after_the_other(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts, call = spans.named("flaky attempt"), spans.one("flaky")
    times = [time for span in attempts for time in (span.start_time or 0, span.end_time or 0)]
    assert [call.start_time, *times, call.end_time] == sorted([call.start_time or 0, *times, call.end_time or 0])
    assert all(times[n + 1] - times[n] >= 1_000_000 for n in (1, 3))  # the backoff lies between


async def test_a_backoff_is_an_event(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    told = [event for event in spans.one("flaky").events if event.name == "backs off"]
    assert len(told) == 2
    for event in told:
        assert event.attributes is not None
        assert "Retry" in str(event.attributes["mountain.policy"])
        assert event.attributes["mountain.wait_seconds"] == pytest.approx(0.001, rel=0.5)


async def test_one_attempt_that_succeeds_is_a_child_too(spans: Spans) -> None:
    await flaky(spans, 0, RETRY)()
    assert [attributes(span)["mountain.attempt"] for span in spans.named("flaky attempt")] == [1]
    assert "mountain.attempts" not in attributes(spans.one("flaky"))


async def test_what_is_said_in_an_attempt_is_said_of_the_call(spans: Spans) -> None:
    @effect(RETRY, name="call")
    async def call() -> None:
        get_current_span().set_attribute("key", "value")

    await call()
    assert attributes(spans.one("call"))["key"] == "value"


async def test_an_attempt_that_its_timeout_ends_says_so(spans: Spans) -> None:
    @effect(Retry(on=TimeoutError, attempts=2, backoff=constant(0)), Timeout(0.005), name="slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    with pytest.raises(errors.TimedOut):
        await slow()
    late = "mountain_runtime.errors.TimedOut"
    assert [attributes(span).get("error.type") for span in spans.named("slow attempt")] == [late, late]


# -- errors --------------------------------------------------------------------------------------------------


async def test_an_error_is_told(spans: Spans) -> None:
    with pytest.raises(Boom):
        await fails()
    span = spans.one("fails")
    assert attributes(span)["error.type"] == f"{Boom.__module__}.Boom"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "it broke")


async def test_an_error_is_told_of_all_that_it_passes(spans: Spans) -> None:
    @effect(name="outer")
    async def outer() -> None:
        await fails()

    with pytest.raises(Boom):
        await outer()
    assert {span.name: span.status.status_code.name for span in spans.all()} == {"fails": "ERROR", "outer": "ERROR"}


async def test_a_builtin_error_has_its_plain_name(spans: Spans) -> None:
    @effect(name="wrong")
    async def wrong() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await wrong()
    assert attributes(spans.one("wrong"))["error.type"] == "ValueError"


async def test_an_error_that_cannot_be_printed_is_told(spans: Spans) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @effect(name="mute")
    async def mute() -> None:
        raise Mute

    with pytest.raises(Mute):
        await mute()
    assert str(attributes(spans.one("mute"))["error.type"]).endswith("Mute")


@pytest.mark.parametrize("native", [False, True])
async def test_a_cancelled_effect_says_so(spans: Spans, native: bool) -> None:
    @effect(name="long")
    async def long() -> None:
        await asyncio.sleep(30)

    task = asyncio.ensure_future(_native.sleep(30) if native else long())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [span] = spans.all()
    assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"


async def test_a_timeout_is_told(spans: Spans) -> None:
    with pytest.raises(errors.TimedOut):
        await _native.sleep(30).under(Timeout(0.005))
    [span] = spans.all()
    assert attributes(span)["error.type"] == "mountain_runtime.errors.TimedOut"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_status_that_the_application_sets_stands(spans: Spans) -> None:
    @effect(name="fails on purpose")
    async def purpose() -> None:
        get_current_span().set_status(StatusCode.OK)
        raise Boom

    with pytest.raises(Boom):
        await purpose()
    span = spans.one("fails on purpose")
    assert span.status.status_code is StatusCode.OK
    assert "error.type" in attributes(span)


# -- events --------------------------------------------------------------------------------------------------


async def test_a_wait_at_a_limit_is_two_events(spans: Spans) -> None:
    limit = ConcurrencyLimit(1, name="door")

    @effect(limit, name="passes")
    async def passes() -> None:
        await asyncio.sleep(0.01)

    await asyncio.gather(passes(), passes())
    first, second = spans.named("passes")
    assert [event.name for event in first.events] == []
    assert [event.name for event in second.events] == ["waits", "waited"]
    for event in second.events:
        assert event.attributes is not None
        assert "door" in str(event.attributes["mountain.policy"])
    waits, waited = second.events
    assert waited.timestamp - waits.timestamp >= 5_000_000


async def test_a_cache_tells_of_misses_and_hits(spans: Spans) -> None:
    @effect(Cache(ttl=30), name="cached")
    async def cached() -> int:
        return 1

    assert await cached() == await cached() == 1
    told = [event.name for span in spans.named("cached") for event in span.events if event.name.startswith("cache")]
    assert told == ["cache miss", "cache hit"]


async def test_a_refused_call_says_who_refused_it(spans: Spans) -> None:
    @effect(CircuitBreaker(name="fuse", failures=1), name="guarded")
    async def guarded() -> None:
        raise Boom

    for error in (Boom, errors.CircuitOpen):
        with pytest.raises(error):
            await guarded()
    _, refused = spans.named("guarded")
    assert [event.name for event in refused.events] == ["refused"]
    assert refused.events[0].attributes is not None
    assert "fuse" in str(refused.events[0].attributes["mountain.policy"])
    assert attributes(refused)["error.type"] == "mountain_runtime.errors.CircuitOpen"


# -- what the application says -------------------------------------------------------------------------------


async def test_attributes_events_and_a_name_of_the_applications_arrive(spans: Spans) -> None:
    @effect(name="told")
    async def told() -> None:
        span = get_current_span()
        assert span.is_recording()
        span.set_attributes({"a": 1, "b": [1.5]})
        span.set_attribute("a", 2)
        span.add_event("happened", {"c": "d"})
        span.record_exception(Boom("noted"))
        span.add_link(SpanContext(1, 2, False))
        span.update_name("renamed")

    await told()
    span = spans.one("renamed")
    assert attributes(span)["a"] == 2
    assert [event.name for event in span.events] == ["happened", "exception"]
    assert span.links[0].context.span_id == 2


async def test_attributes_and_events_are_bounded(spans: Spans) -> None:
    @effect(name="many")
    async def many() -> None:
        for number in range(1000):
            get_current_span().set_attribute(f"key {number}", number)
            get_current_span().add_event(f"event {number}")

    await many()
    assert attributes(spans.one("many")) == {f"key {number}": number for number in range(128)}
    assert len(spans.one("many").events) == 128


async def test_ending_the_span_of_an_effect_does_nothing(spans: Spans) -> None:
    @effect(name="ended")
    async def ended() -> None:
        get_current_span().end()
        await leaf()

    await ended()
    assert spans.names() == ["leaf", "ended"]


@pytest.mark.parametrize(
    "name", ["two\nlines", "'\"`", "<script>alert(1)</script>", "x" * 10_000, "\N{SNOWMAN}" * 5_000, "{}%s\0"]
)
async def test_any_name_works_and_is_short(spans: Spans, name: str) -> None:
    @effect(RETRY, name=name)
    async def named() -> int:
        return 1

    assert await named() == 1
    attempt, call = spans.all()
    assert len(call.name) <= 200
    assert attempt.name == f"{call.name} attempt"
    if len(name) < 100:
        assert call.name == name


# -- sampling ------------------------------------------------------------------------------------------------


class Asked(Sampler):
    """Decides always the same, and counts how often."""

    def __init__(self, decision: Decision) -> None:
        self.count = 0
        self.decision = decision

    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        self.count += 1
        return SamplingResult(self.decision, {"sampled.by": "us"})

    def get_description(self) -> str:
        return "Asked"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)], ids=["off", "parent-based"])
async def test_always_off_makes_no_span(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it asked: that is known once."""
    asked = []
    for kind in {type(sampler), type(ALWAYS_OFF)}:
        monkeypatch.setattr(kind, "should_sample", lambda *_args, **_kwargs: asked.append(1))
    with traces(sampler) as spans:
        assert await gather(*[leaf() for _ in range(20)]) == (1,) * 20
        assert asked == []
        assert spans.names() == []


async def test_a_sampler_of_the_applications_is_asked_of_each_call() -> None:
    sampler = Asked(Decision.DROP)
    with traces(sampler) as spans:
        await leaf()
        await leaf()
        assert sampler.count == 2
        assert spans.names() == []


async def test_what_a_sampler_says_of_a_span_arrives() -> None:
    with traces(Asked(Decision.RECORD_AND_SAMPLE)) as spans:
        await leaf()
        assert attributes(spans.one("leaf"))["sampled.by"] == "us"


@pytest.mark.parametrize("remote", [False, True])
async def test_an_unsampled_parent_has_no_children(remote: bool) -> None:
    with traces(ParentBased(ALWAYS_ON)) as spans:
        seen = []

        @effect(name="below")
        async def below() -> None:
            seen.append(get_current_span().get_span_context())
            with spans.tracer.start_as_current_span("inside"):
                await leaf()

        with use_span(NonRecordingSpan(SpanContext(1, 2, remote, TraceFlags(0)))):
            await below()
        assert spans.names() == []
        assert seen[0].trace_id == 1
        await leaf()
        assert spans.names() == ["leaf"]


async def test_a_sampled_parent_from_elsewhere_is_the_parent() -> None:
    with traces(ParentBased(ALWAYS_OFF)) as spans:
        with use_span(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(1)))):
            await leaf()
        span = spans.one("leaf")
        assert span.parent is not None
        assert (span.context.trace_id, span.parent.span_id) == (1, 2)


@pytest.mark.parametrize("blocks", [False, True])
async def test_below_a_root_that_is_not_sampled_nothing_is(blocks: bool) -> None:
    with traces(ParentBased(TraceIdRatioBased(0))) as spans:

        @effect(name="root")
        async def root() -> None:
            assert get_current_span().get_span_context().is_valid
            assert not get_current_span().is_recording()
            with spans.tracer.start_as_current_span("inside"):
                await leaf()

        @blocking(name="root")
        def blocking_root() -> None:
            with spans.tracer.start_as_current_span("inside"):
                pass

        await (blocking_root() if blocks else root())
        assert spans.names() == []


async def test_a_ratio_samples_whole_traces() -> None:
    with traces(ParentBased(TraceIdRatioBased(0.5))) as spans:

        @effect(name="root")
        async def root() -> None:
            with spans.tracer.start_as_current_span("inside"):
                await leaf()

        for _ in range(100):
            await root()
        counts = {name: len(spans.named(name)) for name in ("root", "inside", "leaf")}
        assert len(set(counts.values())) == 1
        assert 10 < counts["root"] < 90


@contextlib.contextmanager
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is told to who hears of errors that cannot be raised."""
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: said.append(repr(about.exc_value)))
    yield said


async def test_a_sampler_that_raises_breaks_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Asked):
        def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
            raise Boom("sampler")

    with unraisable(monkeypatch) as said, traces(Broken(Decision.DROP)) as spans:
        assert await leaf() == 1
        assert await _native.noop(2) == 2
        assert spans.names() == []
    assert said == ["Boom('sampler')"] * 2


async def test_a_processor_that_raises_at_a_start_breaks_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(SpanProcessor):
        def on_start(self, *_: Any, **__: Any) -> None:
            raise Boom("start")

    with unraisable(monkeypatch) as said, traces(None, Broken()):
        assert await leaf() == 1
    assert said == ["Boom('start')"]


async def test_a_processor_that_raises_at_an_end_breaks_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def on_end(self, *_: Any, **__: Any) -> None:
            raise Boom("end")

    with traces(None, Broken()):
        before = dropped()
        assert [await leaf() for _ in range(3)] == [1, 1, 1]
        _otel.hand_over()
        assert dropped() - before == 3
    assert len([record for record in caplog.records if record.name == "mountain_runtime.telemetry"]) == 1


async def test_a_processor_hears_of_the_start_while_the_effect_begins() -> None:
    class Hears(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            span.set_attribute("heard", get_current_span(parent_context).get_span_context().span_id)

    with traces(None, Hears()) as spans:
        with spans.tracer.start_as_current_span("above") as above:
            await leaf()
        assert attributes(spans.one("leaf"))["heard"] == above.get_span_context().span_id


# -- delivery ------------------------------------------------------------------------------------------------


async def test_spans_are_delivered_a_moment_later_by_themselves(spans: Spans) -> None:
    await leaf()
    assert spans._exporter.get_finished_spans() == ()
    end = time.monotonic() + 2
    while not spans._exporter.get_finished_spans():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_spans_of_a_loop_that_is_closed_wait_for_no_other(spans: Spans) -> None:
    """Those of the loop before are delivered with those of the next, a moment later."""

    async def main(seconds: float) -> None:
        await leaf()
        await asyncio.sleep(seconds)

    asyncio.run(main(0))
    asyncio.run(main(0.3))
    assert len(spans._exporter.get_finished_spans()) == 2


async def test_the_queue_is_bounded(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that nobody takes are counted, and take no memory."""
    _native.trace(_tracing_without_hands(spans))
    before = dropped()
    for _ in range(8192):
        await _native.noop()
    assert (len(_otel._ended), dropped() - before) == (8192, 0)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2000):
            await _native.noop()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(_otel._ended), dropped() - before) == (8192, 2000)
    assert grown < 100_000


def _tracing_without_hands(spans: Spans) -> _native.Tracing:
    from mountain_runtime.telemetry._spans import tracing

    return tracing(spans.provider, _otel._ended, lambda: None, lambda: None)


# -- logs ----------------------------------------------------------------------------------------------------


async def test_a_log_record_carries_its_trace(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    log = _logs.logger("effect")

    @effect(name="logs")
    async def logs() -> None:
        log.warning("hello")

    with caplog.at_level(logging.WARNING):
        await logs()
        log.warning("outside")
    inside, outside = caplog.records
    assert inside.trace_id == format(spans.one("logs").context.trace_id, "032x")  # type: ignore[attr-defined]
    assert (inside.effect, inside.attempt) == (None, None)  # type: ignore[attr-defined]
    assert outside.trace_id is None  # type: ignore[attr-defined]


# -- without tracing -----------------------------------------------------------------------------------------


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
