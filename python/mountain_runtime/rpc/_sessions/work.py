"""A request at work: who waits for its answer, and why it ended."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import msgspec

from ..._native import InheritedDeadline, deadline_var, has_priorities, priority_var
from ...policy._priority import Priority
from ...telemetry import _otel
from .._commands.command import Command
from .._messages.messages import Invalid

__all__ = ["Batch", "Meta", "Reply", "Work", "enter", "read_meta"]

#: Takes the pieces of one answer.
Reply = Callable[[list[bytes]], None]


class Work:
    """A request, or a notification, which has no `reply`."""

    __slots__ = ("command", "credit", "ended_by", "id", "key", "meta", "params", "reply", "tag", "task", "wakes")

    def __init__(
        self,
        command: Command,
        params: "msgspec.Raw",
        key: Any,
        written_id: bytes,
        reply: Reply | None,
        meta: "Meta | None",
    ) -> None:
        self.command = command
        self.params = params
        self.key = key
        self.id = written_id
        self.reply = reply
        self.meta = meta
        self.task: asyncio.Task[None] | None = None
        #: By which its outcome is recorded.
        self.tag: tuple[str, float] | None = None
        #: Why its task was cancelled: by its caller, or because the end has come.
        self.ended_by: str | None = None
        #: Items that its caller still takes; None: as many as its connection does.
        self.credit: int | None = None if meta is None else meta.window
        self.wakes: asyncio.Future[None] | None = None


class Batch:
    """Answers that go together, when all are there."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._missing = 1
        self._pieces: list[bytes] = []

    def expect(self) -> Reply:
        """One answer more."""
        self._missing += 1
        return self._take

    def _take(self, pieces: list[bytes]) -> None:
        self._pieces += [b"," if self._pieces else b"[", *pieces]
        self.over()

    def over(self) -> None:
        """All messages have been read, or one answer is there."""
        self._missing -= 1
        if not self._missing and self._pieces:
            self._reply([*self._pieces, b"]"])


class Meta(msgspec.Struct):
    """The member `$meta` of a request: what it says of itself, beside its parameters."""

    #: "low", "normal" or "high".
    priority: str | None = None
    #: Seconds.
    deadline: float | None = None
    #: Of the caller's span, as W3C has it.
    traceparent: str | None = None
    tracestate: str | None = None
    #: How many items of a stream may be on their way; more when the caller says `$/credit`.
    window: int | None = None


_meta = msgspec.json.Decoder(Meta)


def read_meta(written: "msgspec.Raw") -> Meta:
    """Raises Invalid for what is none."""
    try:
        meta = _meta.decode(written)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"its $meta: {error}") from None
    if meta.priority is not None and meta.priority.upper() not in Priority.__members__:
        raise Invalid("its $meta: priority is 'low', 'normal' or 'high'")
    if meta.deadline is not None and not meta.deadline >= 0:
        raise Invalid("its $meta: deadline is a number of seconds")
    if meta.window is not None and meta.window < 1:
        raise Invalid("its $meta: window is a number of items, 1 or more")
    return meta


def enter(context: Context, meta: Meta, name: str) -> None:
    """Sets in `context` what the request says of itself."""
    if meta.priority is not None:
        has_priorities()
        context.run(priority_var.set, Priority[meta.priority.upper()])
    if meta.deadline is not None:
        context.run(_limit, meta.deadline, name)
    if meta.traceparent is not None and _otel.traces():
        carrier = {"traceparent": meta.traceparent, "tracestate": meta.tracestate or ""}
        context.run(_goes_on, carrier)


def _limit(seconds: float, name: str) -> None:
    outer = deadline_var.get(None)
    if outer is None or outer.remaining() > seconds:
        deadline_var.set(InheritedDeadline(seconds, f"the caller of {name}"))


def _goes_on(carrier: dict[str, str]) -> None:
    from opentelemetry.context import attach
    from opentelemetry.propagate import extract

    attach(extract(carrier))
