"""Support for the tests of tracing: an application that traces for a test, and its exporter's spans."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from mountain_runtime import Retry, _native, constant, effect
from mountain_runtime.telemetry import _otel

#: A time of day and the engine's clock are read one after the other: nanoseconds that may lie between.
APART = 1_000_000


class Boom(Exception):
    """A failure of ours."""


RETRY = Retry(on=Boom, attempts=3, backoff=constant(0.001))


@effect(name="leaf")
async def leaf() -> int:
    await asyncio.sleep(0)
    return 1


@effect(name="fails")
async def fails() -> None:
    raise Boom("it broke")


class Spans:
    """An application's tracing, and the spans that came of it."""

    def __init__(self, sampler: Sampler | None, processors: tuple[SpanProcessor, ...]) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        for processor in (*processors, SimpleSpanProcessor(self._exporter)):
            self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("application")

    def all(self) -> list[ReadableSpan]:
        """All that have ended, in the order of their ends."""
        _otel.hand_over()
        return list(self._exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name, in the order of their beginnings."""
        return sorted((span for span in self.all() if span.name == name), key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        found = self.named(name)
        assert len(found) == 1, f"{len(found)} of {name!r} among {self.names()}"
        return found[0]

    def parent(self, name: str) -> str | None:
        """The name of the parent of the one span of that name. None: it is a root."""
        return self.parent_of(self.one(name))

    def parent_of(self, span: ReadableSpan) -> str | None:
        if span.parent is None:
            return None
        found = [each for each in self.all() if each.context.span_id == span.parent.span_id]
        assert len(found) == 1, f"the parent of {span.name!r} is not among {self.names()}"
        assert found[0].context.trace_id == span.context.trace_id
        return found[0].name

    def events(self, name: str) -> list[str]:
        return [event.name for event in self.one(name).events]


@contextmanager
def traces(sampler: Sampler | None = None, *processors: SpanProcessor) -> Iterator[Spans]:
    """An application that has set up tracing.

    A provider is set once a process, by what the API calls public. The tests that run before and after these do not
    trace, so here the provider is put where the API keeps it, and taken away again.
    """
    spans = Spans(sampler, processors)
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = spans.provider
    _otel._ended.clear()
    _otel._provider = None
    _otel.look()
    assert _otel.traces()
    try:
        yield spans
    finally:
        _native.trace(None)
        _otel._provider = None
        _otel._ended.clear()
        trace._TRACER_PROVIDER = before
        spans.provider.shutdown()


def dropped() -> int:
    """Spans that were dropped, as the metrics have it."""
    found = re.search(r"^mountain_spans_dropped_total (\d+)", _native.metrics_text(openmetrics=False), re.MULTILINE)
    assert found is not None
    return int(found[1])


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
