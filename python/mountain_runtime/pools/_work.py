"""A call as it has arrived at a worker."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from .._effect.remote import Remote, find
from .._effect.stoppable import Stoppable
from .._effect.version import differ
from .._native import InheritedDeadline, deadline_var, priority_var
from ..errors import NoWorkers
from ._call import Meta, envelope
from ._packing import unpack

if TYPE_CHECKING:
    from ._frames import Kind

__all__ = ["Tells", "Work", "call", "enter", "found", "took"]

#: Seconds by which a limit of the caller's is later here: it is the caller's own that ends the call.
_SLACK = 0.1


class Tells(Protocol):
    """A worker's end, which tells the program what belongs to no call; from any thread."""

    def say(self, kind: "Kind", body: bytes) -> None:
        """Sends a message."""

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        """Calls `step` so much later."""


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
        "version",
    )

    def __init__(self, number: int, body: memoryview, fd: int | None) -> None:
        self.number = number
        self.fd = fd
        self.module, self.qualname, self.version, self.meta, self.arguments = envelope(body)
        self.remote: Remote | None = None
        #: Its task has made its first step,
        self.began = False
        #: before which it was cancelled.
        self.asked = False
        self.function: Stoppable | None = None
        self.task: asyncio.Task[None] | None = None

    def find(self) -> Remote:
        """Its function, of the version that its caller has."""
        self.remote = remote = found(self.module, self.qualname, self.version)
        return remote

    def take(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its arguments."""
        fd, self.fd = self.fd, None
        return cast("tuple[tuple[Any, ...], dict[str, Any]]", unpack(self.arguments, fd))


def found(module: str, qualname: str, version: int) -> Remote:
    """A function, of the version that its caller has."""
    remote = find(module, qualname)
    if differ(remote.version, version):
        raise NoWorkers(
            f"the call was not started: worker {os.getpid()} has another version of module '{module}' than "
            "the program. It was edited since the program began, or the worker has another copy: start the program "
            "again",
            effect=remote.name,
        )
    return remote


def took(began: float) -> int:
    """Microseconds since `began`, as a message holds them."""
    return min(int((time.perf_counter() - began) * 1e6), 2**32 - 1)


def call(work: Work, host: Tells, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls its function, in a context of its own."""
    assert work.remote is not None
    assert work.function is not None
    if enter(work.meta, work.remote.name, host):
        from . import _traced

        return _traced.call(work.remote.name, work.function, args, kwargs)
    return work.function(*args, **kwargs)


def enter(meta: Meta | None, name: str, host: Tells) -> bool:
    """In a call's context: its caller's limit, priority and trace. Gives whether it has a trace."""
    if meta is None:
        return False
    until, priority, headers = meta
    if until is not None:
        deadline_var.set(InheritedDeadline(max(until - time.monotonic(), 0.0) + _SLACK, name))
    priority_var.set(priority)
    if headers:
        try:
            from . import _traced
        except ImportError:  # OpenTelemetry is not there
            return False
        _traced.enter(headers, host)
    return bool(headers)
