"""One worker, as the manager of its pool sees it."""

import mmap
import os
import socket
import struct
from collections import deque
from pathlib import Path

from .._native import Child
from ._call import Call
from ._frames import Kind, Link, frame
from ._stderr import Stderr

__all__ = ["Member"]

#: Native, so that it is written at once: a worker that is killed meanwhile has the old number there or the new one.
_PAGE = struct.Struct("@Q")


class Member:
    """A worker process, its end of the socket pair, and the calls that it has, in the order in which it got them."""

    def __init__(self, end: socket.socket, number: int, hello: bytes) -> None:
        self.number = number
        self.link = Link(end, blocks=False)
        self.child: Child | None = None
        self.stderr: Stderr | None = None
        self.pid = 0
        #: The calls that it has, by number; numbers grow.
        self.sent: dict[int, Call] = {}
        #: Cancelled coroutines of which the cleanup is awaited, by number.
        self.cleaning: set[int] = set()
        #: Packets for which the socket has no room yet.
        self.out: deque[tuple[bytes, int | None]] = deque()
        #: It takes calls.
        self.ready = False
        #: It has said that it is ready.
        self.began = False
        #: It takes no more.
        self.retired = False
        #: Why it is to be ended, or says that it ends; empty while nothing is known.
        self.why = ""
        #: Calls that it was sent, ever.
        self.calls = 0
        self.memory_at = 0.0
        self.over = False
        try:
            fd = os.memfd_create("mountain-begun", os.MFD_CLOEXEC)
        except OSError:
            end.close()
            raise
        self.page_fd = fd
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            # Behind the page lies what the worker is to know before its first call: of any length.
            while hello:
                hello = hello[os.pwrite(fd, hello, os.fstat(fd).st_size) :]
            self._page = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
        except OSError:
            end.close()
            os.close(fd)
            raise

    def begun(self) -> int:
        """The number of the last call that it began, by the page that it shares: true after its end, too."""
        return int(_PAGE.unpack_from(self._page)[0])

    def resident(self) -> int:
        """Bytes of memory that it has now; 0 when it is over."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * mmap.PAGESIZE
        except (OSError, IndexError, ValueError):
            return 0

    def send(self, packet: bytes, fd: int | None = None) -> bool:
        """Sends a packet and closes `fd`. False: it waits for room."""
        if self.out:
            self.out.append((packet, fd))
            return False
        try:
            self.link.send(packet, fd)
        except BlockingIOError:
            self.out.append((packet, fd))
            return False
        except OSError:  # it ends, which is seen elsewhere
            pass
        if fd is not None:
            os.close(fd)
        return True

    def flush(self) -> bool:
        """Sends what waits. True: nothing is left."""
        while self.out:
            packet, fd = self.out[0]
            try:
                self.link.send(packet, fd)
            except BlockingIOError:
                return False
            except OSError:
                pass
            self.out.popleft()
            if fd is not None:
                os.close(fd)
        return True

    def say(self, kind: Kind, number: int = 0, body: bytes = b"") -> bool:
        """Sends a message by itself."""
        return self.send(frame(kind, number, body))

    def close(self) -> None:
        """Closes what this process has of it."""
        self.link.end.close()
        if self.stderr is not None:
            self.stderr.close()
        for _, fd in self.out:
            if fd is not None:
                os.close(fd)
        self.out.clear()
        self._page.close()
        os.close(self.page_fd)
