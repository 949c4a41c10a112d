"""Record: requests and their outcomes, a line each, in a bounded file that a thread of its own writes.

1. The loop hands over a request as it comes, and its outcome as it ends; that is all that a request waits for.
2. The thread redacts, makes the lines, and appends them: a line is whole or absent, also after a kill.
3. A file that is half of the bound becomes `PATH.1`, in the place of the one before.
4. What cannot be written is counted in `lost`; the first time is logged.
"""

import atexit
import collections
import contextlib
import hashlib
import itertools
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, final

import msgspec

from ..._native import record_lost
from ..._tasks.users_errors import said
from ...errors import ConfigError
from ...policy._forks import note
from ...policy._given import shown
from ...policy._numbers import count
from ...telemetry import _logs
from .._messages.json import encode
from .appending import Appending

__all__ = ["LARGE", "Record", "flush_all"]

#: Bytes of JSON above which parameters are not recorded, and of a result only its size and digest.
LARGE = 1 << 20
#: Bytes that wait for the thread at most, above one that is alone.
_WAITING = 64 << 20
#: The least bound that holds something.
_LEAST = 4096
#: Seconds that the end of a program, of `serve`, and the start of a replay wait for what is not written yet.
_PATIENCE = 5.0

Redact = Callable[[str, Any], Any]
_log = _logs.logger("rpc")
#: By which the outcomes of two runs that write to one file are told apart.
_run = secrets.token_hex(4)
_numbers = itertools.count(1)
_all: "weakref.WeakSet[Record]" = weakref.WeakSet()


class _Entry:
    """A line to be."""

    __slots__ = ("head", "name", "size", "value", "what")

    def __init__(self, head: dict[str, Any], name: str, what: str, value: bytes) -> None:
        self.head = head
        self.name = name
        #: "params", "result" or "error", whose JSON is the value.
        self.what = what
        self.value = value
        self.size = len(value) + 200


@final
class Record:
    """Where a Router writes its requests and their outcomes, for `rpc.replay`.

    `path` and `path.1` have `most` bytes at most, together; the older half goes when the newer is full. Both have mode
    0600. `redact(name, value)` is called on a thread with the parameters, the result, and the error of each request of
    the command `name`, as JSON values, and gives what is written in their place; where it raises, nothing is.

    No request fails or waits for the disk because it is recorded: lines that cannot be written are counted in `lost`,
    and the first is logged. Raises ConfigError for a bound below 4096.
    """

    def __init__(
        self, path: "str | os.PathLike[str]", /, *, most: int = 64 << 20, redact: Redact | None = None
    ) -> None:
        if not isinstance(cast("object", path), (str, os.PathLike)) or not os.fspath(path):
            raise ConfigError(f"Record({shown(path)}): must be a path")
        if count(most, "Record", "most") < _LEAST:
            raise ConfigError(f"Record(most={most}): must be bytes, {_LEAST} or more")
        if redact is not None and not callable(redact):
            raise ConfigError(f"Record(redact={shown(redact)}): must be a function of a name and a value")
        self.path = str(Path(path).absolute())
        self._most = most
        self._file = Appending(self.path, most // 2)
        self._redact = redact
        self._lost = 0
        self._told = False
        self._entries: collections.deque[_Entry] = collections.deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._writing = False
        self._thread: threading.Thread | None = None
        #: A loop, and the seconds between its time and that of the day.
        self._since: tuple[Any, float] = (None, 0.0)
        _all.add(self)
        note(self)

    def _after_fork(self) -> None:  # pyright: ignore[reportUnusedFunction] - `note` has it called
        """In the child: what waits is the parent's, and is written there. Its thread may hold the lock, for ever."""
        global _run
        _run = secrets.token_hex(4)
        self._changed = threading.Condition()
        self._entries = collections.deque()
        self._bytes, self._writing, self._thread = 0, False, None
        self._file.forget()
        self._file = Appending(self.path, self._most // 2)

    def __repr__(self) -> str:
        return f"<Record {self.path}: {self.lost} lines lost>"

    @property
    def lost(self) -> int:
        """Requests and outcomes that were not written: a full disk, too much at once, a value that is too large."""
        return self._lost

    # -- step 1, on the loop ------------------------------------------------------------------------------------------

    def begins(self, name: str, params: "bytes | msgspec.Raw", caller: str | None, loop: Any) -> tuple[str, float]:
        """Records a request that has come. Gives the tag and the time by which `ended` records its outcome."""
        now: float = loop.time()
        if self._since[0] is not loop:
            self._since = (loop, time.time() - now)
        tag = f"{_run}-{next(_numbers)}"
        if len(params) > LARGE:
            self._loses(1, "its parameters are more than 1 MiB")
            return tag, now
        head: dict[str, Any] = {"id": tag, "at": round(self._since[1] + now, 6), "caller": caller, "name": name}
        self._put(_Entry(head, name, "params", bytes(params) or b"null"))
        return tag, now

    def ended(self, tag: tuple[str, float], name: str, what: str, value: Any, loop: Any) -> None:
        """It has the result, as JSON, or the error, as a value."""
        if what == "error":
            try:
                value = encode(value)
            except Exception:
                value = encode({"code": value["code"], "message": value["message"]})
        self._put(_Entry({"id": tag[0], "took": round(loop.time() - tag[1], 6)}, name, what, value))

    def _put(self, entry: _Entry) -> None:
        with self._changed:
            if self._bytes + entry.size > _WAITING and self._entries:
                self._loses(1, "more is to be written than the disk takes")
                return
            self._entries.append(entry)
            self._bytes += entry.size
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="rpc record", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # the interpreter ends, or there are too many
                    self._thread = None
                    self._loses(len(self._entries), said(error))
                    self._entries.clear()
                    self._bytes = 0
            self._changed.notify_all()

    def flush(self) -> None:
        """Returns when all is written, or after 5 seconds; blocks its thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._entries and not self._writing, _PATIENCE)

    # -- steps 2 to 4, on the thread ----------------------------------------------------------------------------------

    def _work(self) -> None:
        while self._write_some():
            pass

    def _write_some(self) -> bool:
        """Writes what there is; False when nothing comes for a while, and the thread ends."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._entries), 1.0):
                self._thread = None
                self._file.close()
                return False
            self._writing = True
            entries, size = [self._entries.popleft()], 0
            while self._entries and (size := size + entries[-1].size) < LARGE:
                entries.append(self._entries.popleft())
        try:
            lines = [line for entry in entries if (line := self._line(entry)) is not None]
            lost, error = self._file.append(lines)
            if lost:
                self._loses(lost, said(error))
        finally:
            with self._changed:
                self._writing = False
                self._bytes -= sum(entry.size for entry in entries)
                self._changed.notify_all()
        return True

    def _line(self, entry: _Entry) -> bytes | None:
        try:
            value: Any = msgspec.Raw(entry.value)
            if entry.what == "params" or self._redact is not None:  # params may have line ends
                value = msgspec.json.decode(value)
                if self._redact is not None:
                    value = self._redact(entry.name, value)
                value = msgspec.Raw(encode(value))
            if len(value) > LARGE:
                if entry.what != "result":
                    raise ValueError(f"its {entry.what} is more than 1 MiB")
                digest = hashlib.sha256(value).hexdigest()
                return encode({**entry.head, "size": len(value), "sha256": digest}) + b"\n"
            return encode({**entry.head, entry.what: value}) + b"\n"
        except Exception as error:
            self._loses(1, f"{type(error).__name__}: {said(error)}")
            return None

    def _loses(self, lines: int, why: str) -> None:
        with self._changed:
            self._lost += lines
            record_lost(lines)
            tells, self._told = not self._told, True
        if tells:
            _log.warning("not all is recorded to %s: %s; what else is lost is only counted", self.path, why)


def flush_all(path: str | None = None) -> None:
    """Of all that this program records, or of what it records there."""
    for record in list(_all):
        if path is None or Path(record.path).resolve() == Path(path).resolve():
            record.flush()


@atexit.register
def _at_exit() -> None:
    with contextlib.suppress(Exception):
        flush_all()
