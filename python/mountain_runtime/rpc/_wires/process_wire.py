"""A wire over a program's stdin and stdout."""

import asyncio
from collections.abc import Callable

from ...process._process import Process
from .wire import Wire

__all__ = ["ProcessWire"]

#: Seconds in which a program that reads no more has written its last, or is taken for gone.
_LAST = 1.0


class ProcessWire(Wire):
    """The program belongs to its own block: closed, it only is not read any more."""

    def __init__(self, process: Process, breaks: Callable[[], None]) -> None:
        super().__init__()
        self._process, self._breaks = process, breaks
        self._out: list[bytes] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wakes: asyncio.Future[None] | None = None
        self._reads: asyncio.Future[None] | None = None

    def start(self, received: Callable[[bytes], None], ended: Callable[[OSError | None], None], /) -> None:
        self._received, self._ended = received, ended
        self._tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]

    def pause(self) -> None:
        if self._reads is None:
            self._reads = self._loop.create_future()

    def resume(self) -> None:
        reads, self._reads = self._reads, None
        if reads is not None and not reads.done():
            reads.set_result(None)

    async def _read(self) -> None:
        try:
            async for chunk in self._process.chunks():
                self._received(chunk)
                if self._reads is not None:
                    await self._reads
        except OSError as error:
            self._gone(error)
        else:
            self._gone(ConnectionResetError("its output has ended"))

    async def _write(self) -> None:
        try:
            while True:
                if not self._out:
                    self._wakes = self._loop.create_future()
                    await self._wakes
                data, self._out = b"".join(self._out), []
                await self._process._put(data)
                self.pending -= len(data)
                self._tell()
        except OSError as error:
            await asyncio.wait(self._tasks[:1], timeout=_LAST)  # answers that it has written before are heard
            self._gone(error)

    def send(self, *pieces: bytes) -> None:
        if self._closed:
            return
        for piece in pieces:
            self._out.append(piece)
            self.pending += len(piece)
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)

    def flush(self) -> None:
        """The task of `_write` sends in the next turn of the loop."""

    def _gone(self, error: OSError) -> None:
        if not self._closed:
            self._breaks()
            self.close()
            self._ended(error)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._out.clear()
        self.pending = 0
        self._tell()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
