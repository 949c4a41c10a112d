"""The sampling of our spans by the application."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
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
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, use_span

from mountain_runtime import (
    _native,
    blocking,
    effect,
    gather,
)
from mountain_runtime.telemetry import _otel

from .tracing import RETRY, Boom, Spans, attributes, dropped, leaf, traces

# -- what the application says ---------------------------------------------------------------------------------


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


# -- sampling --------------------------------------------------------------------------------------------------


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
    """The errors that reach the hook for those that cannot be raised."""
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: said.append(repr(about.exc_value)))
    yield said


async def test_a_sampler_that_raises_breaks_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Asked):
        def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
            raise Boom("sampler")

    with unraisable(monkeypatch) as said, traces(Broken(Decision.DROP)) as spans:
        assert await leaf() == 1
        assert await _native.trial_noop(2) == 2
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
