"""A wire: bytes from and to descriptors that do not block, on the loop. What is sent in one turn goes together."""

import abc
import asyncio
import contextlib
import os
import stat
from collections import deque
from collections.abc import Callable

from .hangup import HangUp

__all__ = ["HIGH", "FdWire", "Wire"]

#: Bytes of one read, of buffers that are joined, and of one write.
_READ, _JOIN, _WRITE = 65536, 65536, 1 << 20
#: Bytes that wait to be sent above which senders wait.
HIGH = 1 << 18
#: Reads at most of what came before the other side stopped taking anything.
_LAST = 256


class Wire(abc.ABC):
    """Bytes to and from the other side, and the senders that wait for room."""

    def __init__(self) -> None:
        #: Bytes that wait to be sent.
        self.pending = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False

    @abc.abstractmethod
    def start(self, received: Callable[[bytes], None], ended: Callable[[OSError | None], None], /) -> None:
        """Calls `received` with what comes, and `ended` once: None is the end of input, an error the end of it all."""

    @abc.abstractmethod
    def send(self, *pieces: bytes) -> None:
        """Sends them in the next turn of the loop, with what else is sent until then."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Sends what waits at once, if that can be."""

    def drained(self) -> "asyncio.Future[None] | None":
        """Done when there is room to send more; None where there is."""
        if self.pending <= HIGH or self._closed:
            return None
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        return future

    async def flushed(self) -> None:
        """Returns when all has been sent, or the other side is gone."""
        while self.pending and not self._closed:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(future)
            await future

    def _tell(self) -> None:
        """Wakes the senders that wait, where there is room again."""
        if self._waiting and (self.pending <= HIGH // 2 or self._closed):
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    @abc.abstractmethod
    def pause(self) -> None: ...

    @abc.abstractmethod
    def resume(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...


def _nothing(_: OSError | None) -> None: ...


class FdWire(Wire):
    """Over two descriptors, which may be one. `close` is called when nothing uses them any more."""

    def __init__(self, reads: int, writes: int, close: Callable[[], None]) -> None:
        super().__init__()
        self._reads, self._writes = reads, writes
        self._close = close
        self._queue: deque[bytes | memoryview] = deque()
        self._flushes = self._writing = self._reading = self._broken = False
        #: Regular files are read and written at once, and cannot be waited for.
        self._reads_file = stat.S_ISREG(os.fstat(reads).st_mode)
        #: While it is not read.
        self._hangs: HangUp | None = None
        self._input_over = False
        #: An end before `start` is not reported.
        self._ended: Callable[[OSError | None], None] = _nothing

    def start(self, received: Callable[[bytes], None], ended: Callable[[OSError | None], None], /) -> None:
        self._received, self._ended = received, ended
        self.resume()

    # -- reading ------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        if self._reading:
            self._read_no_more()
            self._hangs = HangUp(self._loop, self._writes, self._hung_up)

    def _read_no_more(self) -> None:
        if self._reading and not self._reads_file and not self._loop.is_closed():
            self._loop.remove_reader(self._reads)
        self._reading = False

    def resume(self) -> None:
        if not self._reading and not self._closed and not self._input_over:
            self._reading = True
            self._hear_no_hang_up()
            if not self._reads_file:
                try:
                    self._loop.add_reader(self._reads, self._read)
                except PermissionError:  # a device that cannot be waited for either, such as /dev/null
                    self._reads_file = True
            if self._reads_file:
                self._loop.call_soon(self._read_file)

    def _read_file(self) -> None:
        if self._reading:
            self._read()
            self._loop.call_soon(self._read_file)

    def _read(self) -> None:
        try:
            data = os.read(self._reads, _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._gone(error)
            return
        if data:
            self._received(data)
            return
        self.pause()
        self._input_over = True
        self._ended(None)

    def _hung_up(self) -> None:
        self._hear_no_hang_up()
        if not self._broken:
            self._break(ConnectionResetError("the other side has gone"))

    def _hear_no_hang_up(self) -> None:
        if self._hangs is not None:
            self._hangs.stop()
            self._hangs = None

    # -- writing ------------------------------------------------------------------------------------------------------

    def send(self, *pieces: bytes) -> None:
        if self._closed or self._broken:
            return
        for piece in pieces:
            self._queue.append(piece)
            self.pending += len(piece)
        if not self._flushes and not self._writing:
            self._flushes = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        if self._flushes:
            self._write()

    def _write(self) -> None:
        self._flushes = False
        queue = self._queue
        data: bytes | memoryview = b""
        try:
            while queue and not self._closed:
                data = queue.popleft()
                if queue and len(data) < _JOIN:
                    data = self._joined(data)
                sent = os.write(self._writes, data if len(data) <= _WRITE else memoryview(data)[:_WRITE])
                self.pending -= sent
                if sent < len(data):
                    queue.appendleft(memoryview(data)[sent:])
        except (BlockingIOError, InterruptedError):
            queue.appendleft(data)
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._writes, self._write)
            self._tell()
            return
        except OSError as error:
            self._break(error)
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._writes)
        self._tell()

    def _joined(self, first: "bytes | memoryview") -> bytes:
        parts: list[bytes | memoryview] = [first]
        size = len(first)
        while self._queue and size + len(self._queue[0]) <= 2 * _JOIN:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _break(self, error: OSError) -> None:
        """Nothing more can be sent. Answers that have come before are heard before the end, in the next turn."""
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._writes)
        self._broken = True
        self._queue.clear()
        self.pending = 0
        self._tell()
        self._loop.call_soon(self._hear_last, error)

    def _hear_last(self, error: OSError) -> None:
        if not self._reads_file:
            with contextlib.suppress(OSError):
                for _ in range(_LAST):
                    if self._closed or self._input_over or not (data := os.read(self._reads, _READ)):
                        break
                    self._received(data)
        self._gone(error)

    def _gone(self, error: OSError) -> None:
        if not self._closed:
            ended = self._ended
            self.close()
            ended(error)

    def close(self) -> None:
        if self._closed:
            return
        self._read_no_more()
        self._closed = True
        self._hear_no_hang_up()
        self._queue.clear()
        self.pending = 0
        if not self._loop.is_closed():
            if self._writing:
                self._loop.remove_writer(self._writes)
            self._tell()
        with contextlib.suppress(OSError):
            self._close()
