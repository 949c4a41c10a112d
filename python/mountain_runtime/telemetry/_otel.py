"""Spans through the OpenTelemetry API, where the application has set it up.

One an effect, children for the attempts of a retry, events for waits. The native side asks `look` when an effect first
runs, or a Runtime is entered. A TracerProvider that is set by then has spans from then on; the application's own spans
are their parents and children. What happens to a call is recorded natively, and handed to the provider's processors in
batches, on a loop's thread. Nothing here is imported by a program that does not trace.
"""

import asyncio
import atexit
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .. import _native
from . import _exports, _logs

if TYPE_CHECKING:
    from ._made import Made

__all__ = [
    "add",
    "add_caller",
    "after_fork",
    "callers",
    "flush",
    "hand_over",
    "link_callers",
    "look",
    "outgoing",
    "set_callers",
    "tracer",
    "traces",
]

_log = _logs.logger("telemetry")

#: How long an ended span waits for others at most: seconds.
_WAIT = 0.05

#: Spans of workers that wait at most.
_MOST = 1024

#: As many as an OpenTelemetry span keeps by default.
_LINKS = 128

_ended: list[Any] = []
_taking = threading.Lock()
_provider: Any = None


def look() -> None:
    """Finds out whether the application traces. Once it does, it is not asked again."""
    global _provider
    trace: Any = sys.modules.get("opentelemetry.trace")
    # The default provider only stands for one that may still be set.
    if trace is None:
        return
    provider = trace.get_tracer_provider()
    if provider is _provider or isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return
    from ._spans import tracing

    first_time = _provider is None
    _provider = provider
    _exports.watch(provider)
    _native.trace(tracing(provider, _ended, _first, hand_over))
    if first_time:
        atexit.register(hand_over)


def _first() -> None:
    """A span has ended, this thread's first of a batch."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        hand_over()
    else:
        loop.call_later(_WAIT, hand_over)


def add(spans: list[Any]) -> None:
    """Adds what has ended elsewhere."""
    _ended.extend((span, 0, 0, None, (), 0) for span in spans)
    if len(_ended) > _MOST:
        hand_over()
    else:
        _first()


def hand_over() -> None:
    """Gives the provider's processors what has ended."""
    with _taking:
        batch = _ended[:]
        del _ended[: len(batch)]
    made: Made
    lost = 0
    for made, started, ended, error, events, more in batch:
        try:
            made.hand_over(started, ended, error, events, more)
        except Exception:  # a processor's fault is not the effects'
            lost += 1
            if lost == 1:
                _log.exception("a span could not be handed over")
    if lost:
        _native.spans_dropped(lost)


def after_fork() -> None:
    """In the child of a fork: what waits is the parent's, and is exported there."""
    global _taking
    _taking = threading.Lock()
    _ended.clear()
    _exports.after_fork()


def tracer() -> Any:
    """The provider's tracer for this package; None where there is no provider."""
    return None if _provider is None else _provider.get_tracer("mountain_runtime")


def traces() -> bool:
    """Whether spans are made."""
    return _provider is not None


def outgoing() -> list[tuple[str, str]]:
    """The headers by which a server goes on with the caller's trace; none where the application does not trace."""
    if _provider is None:
        return []
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    inject(headers)
    return list(headers.items())


# -- the spans of those who wait for one call ----------------------------------------------------------------------

#: Of a call that several wait for: the contexts of their spans, until it is linked to them.
_callers: "ContextVar[list[Any] | None]" = ContextVar("mountain_callers", default=None)


def callers() -> list[Any] | None:
    """A list for `add_caller`. None: no spans are made."""
    return None if _provider is None else []


def add_caller(spans: list[Any]) -> None:
    """Adds the current span, if a span has room for one more link."""
    if len(spans) == _LINKS:
        return
    context = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
    if context.is_valid:
        spans.append(context)


def set_callers(spans: list[Any]) -> None:
    """The call that the current context is of waits for `link_callers`."""
    _callers.set(spans)


def link_callers(items: int) -> None:
    """Links the current span, of a call of so many items, to those of its callers, once."""
    if (spans := _callers.get()) is None:
        return
    _callers.set(None)
    span = sys.modules["opentelemetry.trace"].get_current_span()
    for context in spans:
        span.add_link(context)
    span.set_attribute("mountain.items", items)


async def flush(seconds: float) -> int | None:
    """Has the provider export what it was given, for so long at most. None: that is done; else the spans left."""
    if _provider is None:
        return None
    hand_over()
    provider, force = _provider, getattr(_provider, "force_flush", None)
    _exports.watch(provider)  # a processor may have come later
    if force is None:
        return None
    done = threading.Event()
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        try:
            force(max(1, int(seconds * 1000)))
        except Exception:
            _log.exception("the spans could not be exported")
        done.set()
        try:
            loop.call_soon_threadsafe(told.set)
        except RuntimeError:  # the loop is closed: it did not wait
            pass

    # A daemon: an endpoint that hangs keeps no program from ending.
    threading.Thread(target=work, name="mountain-flush", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await told.wait()
    except TimeoutError:
        pass
    return None if done.is_set() else _exports.given_up(provider)
