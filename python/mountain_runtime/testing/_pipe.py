"""A pipe between a test's program and the code that talks to it, in one event loop."""

import asyncio
import contextlib
import errno
import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["KEPT", "PIPE", "Pipe"]

#: Bytes that a pipe holds before its writer waits, and those of a program's output, as with a process.
PIPE, KEPT = 64 << 10, 256 << 10
#: A line is no longer, unless it is read by chunks.
_LONGEST = 64 << 20
_LONG = f"a line of more than {_LONGEST >> 20} MiB: read it by chunks()"
_LOST = (
    "what the program wrote went to the screen alone: it was more than is kept for a reader, and a wait() or screen() "
    "came before one. Read beside them"
)


class _Piece:
    """The bytes that one call writes."""

    def __init__(self, data: bytes) -> None:
        self.rest = memoryview(data)
        self.begun = False
        self.taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Pipe:
    """Bytes in order: a writer waits while it is full, a reader while it is empty.

    With `most` None it is never full. `flows` says whether it may lose what is more than it holds, as long as no reader
    has asked.
    """

    def __init__(self, most: int | None, flows: Callable[[], bool] = lambda: False) -> None:
        self._most, self._flows = most, flows
        self._held = bytearray()
        self._writing: deque[_Piece] = deque()
        self._turn = asyncio.Lock()
        self._come: asyncio.Future[None] | None = None
        self._reads_lines = self._asked = self._lost = self._dropping = False
        #: No byte comes after those that are written already.
        self._ended = False
        #: No byte is read any more.
        self._broken = False

    async def put(self, data: bytes) -> None:
        """Returns when it has taken all. Given up before its first byte it is left out, after that it is completed."""
        if self._ended or self._broken:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        piece = _Piece(data)
        self._writing.append(piece)
        self.move()
        try:
            await piece.taken
        finally:
            if not piece.begun and piece in self._writing:
                self._writing.remove(piece)
                self.move()

    def push(self, data: bytes) -> None:
        """Adds it at once, beside those who wait."""
        if not (self._lost or self._dropping or self._ended):
            self._held += data
        self.move()

    async def take(self, part: str) -> Any:
        """The next "line", "lines" (a list) or "chunk"; None at the end. Given up, it takes nothing."""
        self._asked = True
        async with self._turn:
            try:
                while True:
                    self._reads_lines = part != "chunk"
                    self.move()
                    if (found := self._found(part)) is not Ellipsis:
                        return found
                    self._come = asyncio.get_running_loop().create_future()
                    await self._come
            finally:
                self._reads_lines = False
                self.move()

    def all(self) -> bytes:
        """All that it holds."""
        return bytes(self._held)

    def end(self) -> None:
        """Nothing is written any more: the reader has what was written, then the end."""
        self._ended = True
        self.move()

    async def close(self) -> None:
        """Ends it, and returns when what was to be written before has been."""
        last = _Piece(b"")
        self._writing.append(last)
        self.end()
        with contextlib.suppress(BrokenPipeError):
            await last.taken

    def cut(self) -> None:
        """The writer has ended: the rest of a write that waits is left out."""
        self._refuse()
        self.end()

    def break_(self) -> None:
        """Nothing is read any more: each write is a BrokenPipeError."""
        self._broken = True
        self._refuse()

    def _refuse(self) -> None:
        for piece in self._writing:
            if not piece.taken.done():
                piece.taken.set_exception(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        self._writing.clear()

    def drop(self) -> None:
        """Reads and drops all that comes from now on."""
        self._dropping = True
        self.move()

    def move(self) -> None:
        """Takes what there is room for from those who write, and wakes the reader."""
        while self._writing:
            piece = self._writing[0]
            room = min(len(piece.rest), self._room())
            if not room and len(piece.rest):
                break
            if not (self._lost or self._dropping):
                self._held += piece.rest[:room]
            piece.begun, piece.rest = True, piece.rest[room:]
            if not len(piece.rest):
                self._writing.popleft()
                if not piece.taken.done():
                    piece.taken.set_result(None)
        if self._come is not None and not self._come.done():
            self._come.set_result(None)

    def _room(self) -> int:
        if self._lost or self._dropping or self._most is None:
            return sys.maxsize
        most = _LONGEST if self._reads_lines and b"\n" not in self._held else self._most
        if len(self._held) >= most and not self._asked and self._flows():
            self._lost = True
            self._held.clear()
            return sys.maxsize
        return max(most - len(self._held), 0)

    def _found(self, part: str) -> Any:
        """The part, if it is there; else an Ellipsis."""
        held = self._held
        over = self._ended and not self._writing
        if self._lost:
            raise ValueError(_LOST)
        if not held:
            return None if over else ...
        if part == "chunk" or (part == "lines" and over):
            end = len(held)
        else:
            end = (held.find(b"\n") if part == "line" else held.rfind(b"\n")) + 1
            if not end and over:
                end = len(held)
            elif not end and len(held) >= _LONGEST:
                raise ValueError(_LONG)
            elif not end:
                return ...
        taken = bytes(held[:end])
        del held[:end]
        if part != "lines":
            return taken
        *lines, rest = taken.split(b"\n")
        return [line + b"\n" for line in lines] + ([rest] if rest else [])
