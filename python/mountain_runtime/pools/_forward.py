"""A provider of the SDK in a worker, whose spans are packed as they end, and sent to the program.

They are sent together, a moment later, when there are many, and before the worker ends. Beyond a bound they are
dropped, and counted.
"""

import os
import pickle
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Link, SpanContext

from ._frames import Kind

if TYPE_CHECKING:
    from ._work import Tells

__all__ = ["Forward", "provider"]

#: Spans that wait to be sent at most; so many are sent at once.
_MOST, _MANY = 4096, 128
#: Bytes of a span, and of spans in one message.
_SPAN, _MESSAGE = 24 << 10, 30 << 10
#: Seconds that a span waits for others.
_WAIT = 0.05


def provider(host: "Tells") -> TracerProvider:
    """A provider whose spans the program gets."""
    made = TracerProvider()
    made.add_span_processor(Forward(host))
    return made


class Forward(SpanProcessor):
    """Packs and sends."""

    def __init__(self, host: "Tells") -> None:
        self._host = host
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Keeps one that is sampled: others have no exporter."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        packed = _packed(span, context)
        with self._lock:
            if len(packed) > _SPAN or len(self._waiting) == _MOST:
                self._dropped += 1
            else:
                self._waiting.append(packed)
            count = len(self._waiting)
        if count <= 1:
            self._host.later(_WAIT, self.force_flush)
        elif count == _MANY:
            self._host.later(0, self.force_flush)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, 0
        part: list[bytes] = []
        size = 0
        for packed in waiting:
            if size + len(packed) > _MESSAGE:
                self._host.say(Kind.SPANS, pickle.dumps((part, 0), 5))
                part, size = [], 0
            part.append(packed)
            size += len(packed) + 8
        if part or dropped:
            self._host.say(Kind.SPANS, pickle.dumps((part, dropped), 5))
        return True

    def shutdown(self) -> None:
        """Sends the last."""
        self.force_flush()


def _packed(span: ReadableSpan, context: SpanContext) -> bytes:
    """A span as plain data; `telemetry._arrived` makes it anew."""
    scope, status = span.instrumentation_scope, span.status
    return pickle.dumps(
        (
            _of_context(context),
            None if span.parent is None else _of_context(span.parent),
            span.name,
            span.kind.value,
            span.start_time,
            span.end_time,
            {**(span.attributes or {}), "mountain.worker": os.getpid()},
            (status.status_code.value, status.description),
            [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events],
            [_of_link(link) for link in span.links],
            None if scope is None else (scope.name, scope.version, scope.schema_url),
        ),
        5,
    )


def _of_link(link: Link) -> tuple[Any, ...]:
    return _of_context(link.context), dict(link.attributes or {})


def _of_context(of: SpanContext) -> tuple[int, int, bool, int, list[tuple[str, str]]]:
    return of.trace_id, of.span_id, of.is_remote, int(of.trace_flags), list(of.trace_state.items())
