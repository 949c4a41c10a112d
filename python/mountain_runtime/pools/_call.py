"""A call on its way to a worker and back."""

import pickle
import struct
import time
from collections.abc import Callable
from typing import Any

from .._effect.remote import Remote
from .._native import Job, current_deadline, priority_var
from ..telemetry import _otel
from ._packing import pack

__all__ = ["Call", "Meta", "envelope", "made"]

#: The lengths of the function's name and of what goes with the call, and the version of the function's code.
_HEAD = struct.Struct("<HHQ")
#: Bytes of what goes with a call, beyond which it goes without its trace.
_TRACE = 16 << 10

#: When its time is over, by the clock of this machine; its priority; its trace, as headers.
Meta = tuple[float | None, int, dict[str, str] | None]


class Call:
    """One execution. Its steps, each on the engine's thread:

    1. It waits in the pool's lanes. A cancel ends it there.
    2. A worker has it. From now on it ends by the worker's answer, by the worker's end, or by the engine that ends the
       worker, and in no other way.
    3. A cancel is sent to the worker. The caller waits for the end, whichever that is, and is told of it alone.
    """

    __slots__ = ("asked", "ends", "file", "head", "job", "member", "number", "packed", "priority", "remote", "waits")

    def __init__(
        self, remote: Remote, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Callable[["Call"], object]
    ) -> None:
        self.remote = remote
        self.packed = pack((args, kwargs), *args, *kwargs.values())
        self.priority = priority_var.get(1)
        until = current_deadline()
        #: When its caller's time is over, by the clock of this machine.
        self.ends = None if until is None else time.monotonic() + until.remaining()
        self.head = _head(remote, self.priority, self.ends)
        #: How its end comes to its caller's loop, from any thread; a cancel calls `ask`.
        self.job = Job(ask, (), {}, remote.name, lambda: ask(self))
        #: The memory file of its arguments, while a worker may read it.
        self.file: int | None = None
        self.number = 0
        #: The worker that has it, as its engine knows it.
        self.member: Any = None
        #: It was cancelled.
        self.asked = False
        #: It is in the lanes, and wanted.
        self.waits = False

    @property
    def body(self) -> bytes:
        """Its envelope."""
        return self.head + self.packed.body


def _head(remote: Remote, priority: int, ends: float | None) -> bytes:
    trace = dict(_otel.outgoing()) or None
    meta = b""
    if ends is not None or priority != 1 or trace:
        meta = pickle.dumps((ends, priority, trace), 5)
        if len(meta) > _TRACE:
            meta = pickle.dumps((ends, priority, None), 5)
    return _HEAD.pack(len(remote.where), len(meta), remote.version) + remote.where + meta


def envelope(body: memoryview) -> tuple[str, str, int, Meta | None, memoryview]:
    """Of a call's message: the function's module, name and version, what goes with it, and its packed arguments."""
    where, meta, version = _HEAD.unpack_from(body)
    at = _HEAD.size
    module, _, qualname = str(body[at : at + where], "utf-8").partition(":")
    at += where
    return module, qualname, version, pickle.loads(body[at : at + meta]) if meta else None, body[at + meta :]


def made(remote: Remote, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Callable[[Call], object]) -> Call:
    """A call; of what cannot be pickled the argument is named."""
    try:
        return Call(remote, args, kwargs, ask)
    except Exception as error:
        import inspect

        try:
            arguments: dict[str, object] = inspect.signature(remote.fn).bind(*args, **kwargs).arguments
        except (TypeError, ValueError):
            arguments = dict(enumerate(args)) | kwargs  # type: ignore[assignment]
        for name, value in arguments.items():
            try:
                pickle.dumps(value, 5)
            except Exception as of:
                raise pickle.PicklingError(f"argument '{name}' of {remote.name} cannot be pickled: {of}") from error
        raise
