"""Spans of worker processes, which the program's provider is handed as its own. They come as plain data."""

import pickle
from typing import Any

from .. import _native
from . import _otel

__all__ = ["Arrived", "arrive"]


class Arrived:
    """A span of a worker's, handed over as those that were made here."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def hand_over(self, *_: object) -> None:
        """Gives it to the provider's processors, with the provider's resource."""
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        context, parent, *said, status, events, links, scope = pickle.loads(self._packed)
        name, kind, started, ended, attributes = said
        tracer: Any = _otel.tracer()
        tracer.span_processor.on_end(
            ReadableSpan(
                name=name,
                context=_context(context),
                parent=None if parent is None else _context(parent),
                resource=tracer.resource,
                attributes=attributes,
                events=[Event(name, of, timestamp=at) for name, of, at in events],
                links=[Link(_context(to), of) for to, of in links],
                kind=SpanKind(kind),
                status=Status(StatusCode(status[0]), status[1]),
                start_time=started,
                end_time=ended,
                instrumentation_scope=None if scope is None else InstrumentationScope(*scope),
            )
        )


def _context(of: tuple[int, int, bool, int, list[tuple[str, str]]]) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    trace_id, span_id, remote, flags, state = of
    return SpanContext(trace_id, span_id, remote, TraceFlags(flags), TraceState(state))


def arrive(spans: list[bytes], dropped: int) -> None:
    """Takes spans that a worker has sent, and the number of those that it could not send. On any thread."""
    if not hasattr(_otel.tracer(), "span_processor"):  # another provider than the SDK's takes no finished spans
        dropped, spans = dropped + len(spans), []
    if dropped:
        _native.spans_dropped(dropped)
    if spans:
        _otel.add([Arrived(packed) for packed in spans])
