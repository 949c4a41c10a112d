"""The stderr of a worker until it is ready: a pipe, so that its last lines are known if it ends before.

1. All that a worker writes before it is ready, the interpreter's own errors among it, goes into the pipe. The manager
   writes it to the program's stderr as it comes.
2. When it is ready, a worker takes the program's stderr for its own, and says so. It gets calls when the manager has
   written what was in the pipe by then: the order of the lines is that in which they came.
3. Processes that the worker has started before keep the pipe, which is read until the last of them has ended.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import sys
import termios
from collections.abc import Callable

__all__ = ["Stderr", "take"]

#: Bytes that are written at once, which a pipe with room takes whole, and so many times in a row.
_PIECE, _TURNS = 4096, 32
#: Bytes that are kept, of which so many lines are shown.
_KEPT, _LINES = 16384, 20
#: CPython 3.14 ends its report of a crash with the stack in C, which says less than that in Python before it.
_IN_C = "Current thread's C stack trace"
#: Milliseconds that the program's stderr has for the last of a worker; seconds between two looks for room.
_LAST, _LATER = 100, 0.05


class Stderr:
    """The pipe of one worker, on the manager's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        self._open = True
        self._kept = b""
        #: Read, and not written yet.
        self._left = b""
        self._timer: asyncio.TimerHandle | None = None
        #: Bytes until which `_then` waits.
        self._owed = 0
        self._then: Callable[[], object] | None = None

    def begin(self) -> None:
        """The worker has its end."""
        os.close(self.theirs)
        self.theirs = -1
        self._loop.add_reader(self._ours, self._copy)

    def when_written(self, step: Callable[[], object]) -> None:
        """Calls `step` once what is in the pipe now is written."""
        in_pipe = bytearray(4)
        if self._open:
            fcntl.ioctl(self._ours, termios.FIONREAD, in_pipe)
        self._owed = int.from_bytes(in_pipe, sys.byteorder) + len(self._left)
        self._then = step
        self._look()
        self._copy()

    def _look(self) -> None:
        if self._owed <= 0 and self._then is not None:
            then, self._then = self._then, None
            then()

    def _copy(self) -> None:
        """Writes what is in the pipe to the program's stderr, as far as that has room: the manager does not wait."""
        if self._timer is None:
            for _ in range(_TURNS):
                if not self._left and not self._read():
                    return
                if not self._write(0):
                    self._loop.remove_reader(self._ours)
                    self._timer = self._loop.call_later(_LATER, self._again)
                    return

    def _again(self) -> None:
        self._timer = None
        self._loop.add_reader(self._ours, self._copy)
        self._copy()

    def _read(self) -> bool:
        """False: there is nothing now, or there will be nothing more."""
        if not self._open:
            return False
        try:
            self._left = os.read(self._ours, _PIECE)
        except BlockingIOError:
            return False
        if not self._left:
            self._loop.remove_reader(self._ours)
            self.close()
            return False
        self._kept = (self._kept + self._left)[-_KEPT:]
        return True

    def _write(self, milliseconds: int) -> bool:
        """False: it has no room within that time."""
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if not poll.poll(milliseconds):
            return False
        try:
            written = os.write(2, self._left)
        except BlockingIOError:
            return False
        except OSError:  # its reader has gone
            written = len(self._left)
        self._left = self._left[written:]
        self._owed -= written
        self._look()
        return not self._left

    def end(self) -> str:
        """The last lines of a worker that has ended."""
        self._then = None
        if self._timer is not None:
            self._timer.cancel()
        if self._open:
            self._loop.remove_reader(self._ours)
        for _ in range(_TURNS):
            if not self._left and not self._read():
                break
            self._write(_LAST)
            self._left = b""
        said = self._kept.decode("utf-8", "replace").partition(_IN_C)[0]
        return "\n".join(said.strip().splitlines()[-_LINES:])

    def close(self) -> None:
        """Closes the pipe."""
        if self._open:
            self._open = False
            os.close(self._ours)
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1


def take(program: int) -> None:
    """At a worker that is ready: its stderr is the program's from now on."""
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os.dup2(program, 2)
    os.close(program)
