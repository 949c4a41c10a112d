"""Spans as OpenTelemetry has them, made of what the native side recorded. Imported only by programs that trace."""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.trace import (
    Span,
    Status,
    StatusCode,
    set_span_in_context,
)

from .. import _native
from ._made import Sdk, Told, named, of_event, said, stood_in
from ._sampling import ASKED

__all__ = ["tracing"]


def tracing(provider: Any, ended: list[Any], first: Callable[[], None], many: Callable[[], None]) -> _native.Tracing:
    """The functions and settings of a provider for the native side."""
    tracer = provider.get_tracer("mountain_runtime")
    native = all(hasattr(tracer, name) for name in ("sampler", "resource", "span_processor", "id_generator"))
    maker: Sdk | _Other = Sdk(tracer) if native else _Other(tracer)
    return _native.Tracing(
        current=_current(),
        fates=maker.fates,
        start=maker.start,
        attach=otel_context.attach,
        detach=_detach,
        ended=ended,
        first=first,
        many=many,
    )


def _current() -> tuple[Any, str] | None:
    """Where the current span is kept, if that is the context variable that it usually is."""
    kept = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    variable = getattr(kept, "_current_context", None)
    from opentelemetry.trace import propagation

    key = getattr(propagation, "_SPAN_KEY", None)
    return None if variable is None or not isinstance(key, str) else (variable, key)


def _detach(token: Any) -> None:
    """Without the SDK's log line for a token of another context, as a generator may have."""
    try:
        otel_context._RUNTIME_CONTEXT.detach(token)
    except ValueError:
        pass


class _Other:
    """Makes spans for any other provider, by its API alone."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self.fates = (ASKED, ASKED, ASKED)

    def start(self, name: str) -> tuple[otel_context.Context, "_Others | None"]:
        span = self._tracer.start_span(name)
        made = _Others(span) if span.is_recording() else None
        return set_span_in_context(span), made


class _Others:
    """A span of another provider's, told what was recorded."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def begin_attempt(self, context: otel_context.Context) -> otel_context.Context:
        return context

    def attempt_failed(self, error: BaseException) -> None:
        self._span.add_event("attempt failed", {"error.type": named(error)})

    def hand_over(
        self, started: int, ended: int, error: BaseException | None, events: Sequence[Told], more: int
    ) -> None:
        for name, policy, fallback, number, at in events:
            if name == "items":
                self._span.set_attribute("mountain.items", number)
                continue
            self._span.add_event(name, of_event(name, policy, fallback, number), timestamp=at)
        if error is None and (answered := stood_in(events)):
            self._span.set_attribute("mountain.fallback", answered)
        if error is not None:
            self._span.set_attribute("error.type", named(error))
            self._span.set_status(Status(StatusCode.ERROR, said(error)))
        self._span.end(ended)
