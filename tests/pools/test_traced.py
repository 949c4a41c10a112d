"""Spans of workers: they are children of the caller's, and its provider gets them."""

import asyncio
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode

from mountain_runtime import Runtime, effect
from mountain_runtime.pools._forward import Forward
from mountain_runtime.pools._frames import FRAMES, Kind
from mountain_runtime.telemetry import _arrived
from tests.telemetry.tracing import Spans, attributes, dropped, traces

from . import traced_work as work

pytestmark = pytest.mark.processes


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traces() as made:
        yield made


async def test_spans_of_a_worker_are_children_of_the_callers(spans: Spans) -> None:
    @effect(name="caller")
    async def caller() -> int:
        return await work.whole()

    async with work.traced:
        worker = await caller()
    assert worker != os.getpid()
    # At the caller, and at the worker.
    outer, inner = spans.named("whole")
    assert spans.parent_of(outer) == "caller"
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert spans.parent("tries") == "whole"
    assert [spans.parent_of(span) for span in spans.named("part")] == ["tries attempt", "tries attempt"]
    theirs = [span for span in spans.all() if "mountain.worker" in attributes(span)]
    assert {span.context.trace_id for span in theirs} == {spans.one("caller").context.trace_id}
    assert {attributes(span)["mountain.worker"] for span in theirs} == {worker}
    assert len(theirs) == 6
    assert spans.events("tries") == ["backs off"]
    assert {span.resource for span in theirs} == {outer.resource}
    assert outer.start_time is not None
    assert inner.start_time is not None
    assert inner.end_time is not None
    assert outer.end_time is not None
    assert outer.start_time <= inner.start_time <= inner.end_time <= outer.end_time


async def test_spans_of_the_application_within_a_function_arrive_as_they_were(spans: Spans) -> None:
    async with work.traced:
        await work.plain()
    outer, inner = spans.named("plain")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    inside = spans.one("inside")
    assert spans.parent("inside") == "plain"
    assert attributes(inside)["list"] == (1, 2)
    assert [(event.name, dict(event.attributes or {})) for event in inside.events] == [("seen", {"n": 1})]
    assert [(link.context, dict(link.attributes or {})) for link in inside.links] == [
        (inside.context, {"to": "itself"})
    ]
    assert inside.instrumentation_scope is not None
    assert (inside.instrumentation_scope.name, inside.instrumentation_scope.version) == ("application", "1.2")


async def test_a_function_that_fails_has_its_error_in_its_span(spans: Spans) -> None:
    async with work.traced:
        with pytest.raises(ValueError, match="wrong"):
            await work.plain(fails=True)
    for span in spans.named("plain"):
        assert attributes(span)["error.type"] == "ValueError"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "wrong")


async def test_spans_arrive_a_moment_later_while_the_pool_is_open(spans: Spans) -> None:
    async with work.traced:
        await work.plain()
        for _ in range(1000):
            there = [span.name for span in spans._exporter.get_finished_spans()]
            if len(there) == 4:
                break
            await asyncio.sleep(0.01)  # real: they come from another process
        assert sorted(there) == ["inside", "plain", "plain", "process.worker"]


async def test_the_export_of_a_runtime_comes_after_the_last_spans_of_its_pools(spans: Spans) -> None:
    async with Runtime():
        await work.many(2000)
    exported = spans._exporter.get_finished_spans()
    assert sum(span.name.startswith("span ") for span in exported) == 2000


async def test_what_the_callers_sampler_drops_is_dropped_at_the_worker() -> None:
    with traces(ParentBased(ALWAYS_OFF)) as spans:
        async with work.traced:
            await work.plain()
            await work.whole()
        assert spans.names() == []


async def test_a_worker_in_which_the_application_traces_exports_by_itself(
    spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spans"
    monkeypatch.setenv(work.FILE, str(path))
    async with work.itself:
        await work.exported_there()
    here = spans.one("exported there")
    assert path.read_text() == f"exported there {here.context.trace_id:032x}\n"


async def test_a_call_without_a_trace_makes_a_worker_import_nothing() -> None:
    async with work.traced:
        assert await work.knows_of_traces() == []


# -- bounds --------------------------------------------------------------------------------------------------------


class Host:
    """The part of a worker's host that sends."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.delays: list[float] = []

    def say(self, kind: Kind, body: bytes) -> None:
        assert kind == Kind.SPANS
        self.said.append(body)

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        self.delays.append(seconds)


def test_spans_beyond_the_bound_are_counted() -> None:
    host = Host()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Forward(cast("Any", host)))
    tracer = provider.get_tracer("application")
    for _ in range(4200):
        tracer.start_span("span").end()
    tracer.start_span("long", attributes={"text": "x" * 100_000}).end()
    assert host.delays == [0.05, 0]
    assert host.said == []
    provider.force_flush()
    assert max(map(len, host.said)) < FRAMES
    messages = [pickle.loads(body) for body in host.said]
    assert sum(len(spans) for spans, _ in messages) == 4096
    assert [count for _, count in messages if count] == [4200 - 4096 + 1]
    provider.force_flush()
    assert len(host.said) == len(messages)


def test_spans_that_no_provider_takes_are_counted() -> None:
    before = dropped()
    _arrived.arrive([b"a", b"b"], 3)
    assert dropped() == before + 5
