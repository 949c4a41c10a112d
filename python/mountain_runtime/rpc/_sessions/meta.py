"""`$meta`, the member by which a request says its priority, deadline, trace and window: read, and written."""

from contextvars import Context
from typing import Any

import msgspec

from ..._native import InheritedDeadline, current_deadline, deadline_var, has_priorities, priority_var
from ...policy._priority import Priority
from ...telemetry import _otel
from .._messages.messages import Invalid

__all__ = ["Meta", "enter", "meta_here", "read_meta"]


class _Written(msgspec.Struct):
    #: "low", "normal" or "high".
    priority: str | None = None
    #: Seconds.
    deadline: float | None = None
    #: Of the caller's span, as W3C has it.
    traceparent: str | None = None
    tracestate: str | None = None
    #: How many items of a stream may be on their way; more when the caller says `$/credit`.
    window: int | None = None


_decode = msgspec.json.Decoder(_Written).decode


class Meta:
    """The priority, deadline, trace and window of a request, where it says them."""

    __slots__ = ("carrier", "limit", "priority", "window")

    def __init__(self, written: _Written, name: str) -> None:
        self.priority = None if written.priority is None else Priority[written.priority.upper()]
        #: From now on, since the request may wait before it begins.
        self.limit = None if written.deadline is None else InheritedDeadline(written.deadline, f"the caller of {name}")
        self.carrier: dict[str, str] | None = None
        if written.traceparent is not None:
            self.carrier = {"traceparent": written.traceparent, "tracestate": written.tracestate or ""}
        self.window = written.window


def read_meta(written: "msgspec.Raw", name: str) -> Meta:
    """That of a request for the command `name`, which has just come. Raises Invalid for what is none."""
    try:
        meta = _decode(written)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"its $meta: {error}") from None
    if meta.priority is not None and meta.priority.upper() not in Priority.__members__:
        raise Invalid("its $meta: priority is 'low', 'normal' or 'high'")
    if meta.deadline is not None and not meta.deadline >= 0:
        raise Invalid("its $meta: deadline is a number of seconds")
    if meta.window is not None and meta.window < 1:
        raise Invalid("its $meta: window is a number of items, 1 or more")
    return Meta(meta, name)


def enter(context: Context, meta: Meta) -> None:
    """Sets the priority, the deadline and the trace of `context`."""
    if meta.priority is not None:
        has_priorities()
        context.run(priority_var.set, meta.priority)
    if meta.limit is not None:
        context.run(deadline_var.set, meta.limit)
    if meta.carrier is not None:
        _otel.look()  # the command may be the first effect of all
        if _otel.traces():
            context.run(_goes_on, meta.carrier)


def _goes_on(carrier: dict[str, str]) -> None:
    from opentelemetry.context import attach
    from opentelemetry.propagate import extract

    attach(extract(carrier))


def meta_here() -> dict[str, Any]:
    """That of a call from here; empty where it would change nothing."""
    found: dict[str, Any] = {}
    priority = priority_var.get(Priority.NORMAL)
    if priority != Priority.NORMAL:
        found["priority"] = Priority(priority).name.lower()
    until = current_deadline()
    if until is not None:
        found["deadline"] = max(until.remaining(), 0.0)
    found.update(_otel.outgoing())
    return found
