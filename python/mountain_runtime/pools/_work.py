"""A call as it has arrived at a worker."""

import asyncio
import contextlib
import time
from typing import Any, cast

from .._effect.remote import Remote
from .._effect.stoppable import Stoppable
from .._native import InheritedDeadline, deadline_var, priority_var
from ._call import Meta, envelope
from ._packing import unpack

__all__ = ["Work", "enter", "took"]

#: Seconds by which a limit of the caller's is later here: it is the caller's own that ends the call.
_SLACK = 0.1


class Work:
    """A call that has arrived."""

    __slots__ = (
        "arguments",
        "asked",
        "began",
        "fd",
        "function",
        "meta",
        "module",
        "number",
        "qualname",
        "remote",
        "task",
    )

    def __init__(self, number: int, body: memoryview, fd: int | None) -> None:
        self.number = number
        self.fd = fd
        self.module, self.qualname, self.meta, self.arguments = envelope(body)
        self.remote: Remote | None = None
        #: Its task has made its first step,
        self.began = False
        #: before which it was cancelled.
        self.asked = False
        self.function: Stoppable | None = None
        self.task: asyncio.Task[None] | None = None

    def take(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its arguments."""
        fd, self.fd = self.fd, None
        return cast("tuple[tuple[Any, ...], dict[str, Any]]", unpack(self.arguments, fd))


def took(began: float) -> int:
    """Microseconds since `began`, as a message holds them."""
    return min(int((time.perf_counter() - began) * 1e6), 2**32 - 1)


def enter(meta: Meta | None, name: str) -> None:
    """In a call's context: its caller's limit, priority and trace."""
    if meta is None:
        return
    until, priority, headers = meta
    if until is not None:
        deadline_var.set(InheritedDeadline(max(until - time.monotonic(), 0.0) + _SLACK, name))
    priority_var.set(priority)
    if headers:
        with contextlib.suppress(ImportError):
            from opentelemetry import context, propagate

            context.attach(propagate.extract(headers))
