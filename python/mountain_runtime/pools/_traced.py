"""Spans of a worker, on their way to the program's provider. Imported where a call comes with a trace.

1. The first such call looks whether the application traces in the worker by itself, as a function for `runtime=` may
   set up. Its spans then stay there.
2. Otherwise a provider of the SDK is set up, which forwards all spans, the application's own among them.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Status, StatusCode

from ..telemetry import _otel
from ..telemetry._made import named, said

if TYPE_CHECKING:
    from ._work import Tells

__all__ = ["call", "enter"]

_setting_up = threading.Lock()
_set_up = False


def enter(headers: Mapping[str, str], host: "Tells") -> None:
    """In a call's context: its caller's span is the current one."""
    if not _set_up:
        _look(host)
    context.attach(propagate.extract(headers))


def call(name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls a function that is no effect here, within a span."""
    tracer = trace.get_tracer("mountain_runtime")
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            span.set_attribute("error.type", named(error))
            span.set_status(Status(StatusCode.ERROR, said(error)))
            raise


def _look(host: "Tells") -> None:
    global _set_up
    with _setting_up:
        if _set_up:
            return
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            with contextlib.suppress(ImportError):  # the program's provider is none of the SDK's
                from ._forward import provider

                trace.set_tracer_provider(provider(host))
        _otel.look()
        _set_up = True
