"""A span of ours: what the code inside a call sees of it, and what is handed over when the call has ended."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from ._sampling import KEPT, fates

__all__ = ["Made", "Sdk", "Told", "named", "of_event", "said", "stood_in"]

_UNSET = Status(StatusCode.UNSET)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
#: Attributes and events of the application's, a span.
_MOST = 128

#: An event's name, the policy where it happened, what stands in, a number, and its time in nanoseconds since 1970.
Told = tuple[str, str, str, int, int]


class Made(Span):
    """The span of one call, as the code inside it sees it. It ends with its call."""

    __slots__ = ("_attempts", "_attributes", "_context", "_events", "_links", "_maker", "_name", "_parent", "_status")

    def __init__(self, maker: "Sdk", name: str, context: SpanContext, parent: SpanContext | None) -> None:
        self._maker = maker
        self._name = name
        self._context = context
        self._parent = parent
        self._attributes: dict[str, Any] = {}
        self._events: list[Any] = []
        self._links: list[Any] = []
        self._status = _UNSET
        #: Of each attempt: its context, and the type of the error with which it failed.
        self._attempts: list[tuple[SpanContext, str | None]] = []

    # -- the API, for the code inside ---------------------------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return True

    def end(self, end_time: int | None = None) -> None:
        """Nothing: the call ends it."""

    def set_attribute(self, key: str, value: Any) -> None:
        if len(self._attributes) < _MOST or key in self._attributes:
            self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if len(self._events) < _MOST:
            self._events.append(self._maker.event(name, attributes, timestamp or time.time_ns()))

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        if len(self._links) < _MOST:
            self._links.append(trace.Link(context, attributes))

    def update_name(self, name: str) -> None:
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        about = {"exception.type": named(exception), "exception.message": said(exception)}
        self.add_event("exception", {**about, **(attributes or {})}, timestamp)

    # -- for the native side ------------------------------------------------------------------------------------------

    def begin_attempt(self, context: otel_context.Context) -> otel_context.Context:
        """The context inside the next attempt: a child, whose span is told by its call."""
        attempt = self._maker.child_of(self._context)
        if len(self._attempts) < _MOST:
            self._attempts.append((attempt, None))
        return set_span_in_context(_Attempt(attempt, self), context)

    def attempt_failed(self, error: BaseException) -> None:
        if self._attempts:
            self._attempts[-1] = (self._attempts[-1][0], named(error))

    def hand_over(
        self, started: int, ended: int, error: BaseException | None, events: Sequence[Told], more: int
    ) -> None:
        attributes = self._attributes
        status = self._status
        if error is not None:
            attributes["error.type"] = kind = named(error)
            if status.status_code is StatusCode.UNSET:
                status = Status(StatusCode.ERROR, said(error))
        else:
            kind = None
        if more:
            attributes["mountain.events_dropped"] = more
        told = self._events
        attempts = 0
        for name, policy, fallback, number, at in events:
            if name == "attempt":
                attempts = number
                continue
            if name == "hedged":
                attempts = number
            if name == "items":
                attributes["mountain.items"] = number
                continue
            told.append(self._maker.event(name, of_event(name, policy, fallback, number), at))
        if error is None and (answered := stood_in(events)):
            attributes["mountain.fallback"] = answered
        if attempts > 1:
            attributes["mountain.attempts"] = attempts
        maker = self._maker
        if self._attempts:
            for n, (context, failed, begun, over) in enumerate(self._spans_of_attempts(events, ended, kind), 1):
                of_attempt: dict[str, Any] = {"mountain.attempt": n}
                if failed is not None:
                    of_attempt["error.type"] = failed
                state = _UNSET if failed is None else Status(StatusCode.ERROR)
                maker.give(f"{self._name} attempt", context, self._context, of_attempt, (), (), state, begun, over)
        maker.give(self._name, self._context, self._parent, attributes, told, self._links, status, started, ended)

    def _spans_of_attempts(
        self, events: Sequence[Told], ended: int, kind: str | None
    ) -> Iterator[tuple[SpanContext, str | None, int, int]]:
        """Each attempt: its context, its error, its beginning and its end."""
        begun: list[int] = []
        over: list[int] = []
        for name, _, _, _, at in events:
            if name == "attempt" or name == "backs off":
                if len(over) < len(begun):
                    over.append(at)
                if name == "attempt":
                    begun.append(at)
        over.extend([ended] * (len(begun) - len(over)))
        last = len(self._attempts) - 1
        for n, ((context, failed), at, to) in enumerate(zip(self._attempts, begun, over, strict=False)):
            yield context, (kind if n == last and failed is None else failed), at, to


class _Attempt(NonRecordingSpan):
    """The context inside an attempt: attributes and events set there go to the call's span."""

    def __init__(self, context: SpanContext, call: Made) -> None:
        super().__init__(context)
        self._call = call
        for name in ("set_attribute", "set_attributes", "add_event", "set_status", "record_exception", "add_link"):
            setattr(self, name, getattr(call, name))

    def is_recording(self) -> bool:
        return True


class Sdk:
    """Makes spans for the SDK's provider, or one with its shape."""

    def __init__(self, tracer: Any) -> None:
        from opentelemetry.sdk.trace import Event, ReadableSpan

        self._event = Event
        self._span = ReadableSpan
        self._tracer = tracer
        self._sampler = tracer.sampler
        self._ids = tracer.id_generator
        self._processor = tracer.span_processor
        self._scope = getattr(tracer, "_instrumentation_scope", None)
        self._starts = _who_hears_starts(self._processor)
        self.fates = fates(self._sampler)

    def start(self, name: str) -> tuple[otel_context.Context, Made | None] | None:
        """The context inside a call of that name, and its span if that is recorded."""
        current = otel_context.get_current()
        above = get_current_span(current).get_span_context()
        parent: SpanContext | None = above if above.is_valid else None
        if parent is None:
            fate, trace_id, state = self.fates[0], self._ids.generate_trace_id(), None
        else:
            sampled = parent.trace_flags & TraceFlags.SAMPLED
            fate, trace_id, state = self.fates[1 if sampled else 2], parent.trace_id, parent.trace_state
        flags, attributes = _SAMPLED, None
        recorded = True
        if fate != KEPT:
            result = self._sampler.should_sample(current, trace_id, name, SpanKind.INTERNAL, None, ())
            flags = _SAMPLED if result.decision.is_sampled() else TraceFlags(TraceFlags.DEFAULT)
            recorded = result.decision.is_recording()
            state, attributes = result.trace_state, result.attributes
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        if not recorded:
            return set_span_in_context(NonRecordingSpan(context), current), None
        made = Made(self, name, context, parent)
        if attributes:
            made.set_attributes(attributes)
        for processor in self._starts:
            processor.on_start(made, parent_context=current)
        return set_span_in_context(made, current), made

    def child_of(self, parent: SpanContext) -> SpanContext:
        return SpanContext(parent.trace_id, self._ids.generate_span_id(), False, parent.trace_flags, parent.trace_state)

    def event(self, name: str, attributes: Any, at: int) -> Any:
        return self._event(name, attributes, timestamp=at)

    def give(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Mapping[str, Any],
        events: Sequence[Any],
        links: Sequence[Any],
        status: Status,
        started: int,
        ended: int,
    ) -> None:
        self._processor.on_end(
            self._span(
                name=name,
                context=context,
                parent=parent,
                resource=self._tracer.resource,
                attributes=attributes,
                events=events,
                links=links,
                status=status,
                start_time=started,
                end_time=ended,
                instrumentation_scope=self._scope,
            )
        )


def _who_hears_starts(processor: Any) -> list[Any]:
    """The processors that do something when a span starts; the SDK's exporting ones do not."""
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    idle = {SpanProcessor.on_start, BatchSpanProcessor.on_start, SimpleSpanProcessor.on_start}
    parts: Sequence[Any] = getattr(processor, "_span_processors", (processor,))
    return [part for part in parts if getattr(part.__class__, "on_start", None) not in idle]


def stood_in(events: Sequence[Told]) -> str:
    """The name of the fallback that gave the value of a call that has one; empty where none did."""
    found = ""
    for name, _, fallback, _, _ in events:
        if name in ("attempt", "degraded", "not accepted"):
            found = fallback
    return found


def of_event(name: str, policy: str, fallback: str, number: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {"mountain.policy": policy} if policy else {}
    if fallback:
        attributes["mountain.fallback"] = fallback
    if name in ("backs off", "chaos delay"):
        attributes["mountain.wait_seconds"] = number / 1e9
    if name in ("hedged", "attempt won"):
        attributes["mountain.attempt"] = number
    return attributes


def named(error: BaseException) -> str:
    """The type of an error, as `error.type` has it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def said(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:
        return ""
