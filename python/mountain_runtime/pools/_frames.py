"""Messages between a pool and one worker: packets of a socket pair, each whole or not there.

A packet has one message or several small ones. The descriptor of a memory file comes with the packet of its message,
which is then alone in it.
"""

import array
import os
import socket
import struct
from collections.abc import Iterator
from enum import IntEnum

__all__ = ["FRAMES", "Frame", "Kind", "Link", "frame"]

#: Bytes of a packet up to which small messages go together.
FRAMES = 1 << 15
#: Kind, number of the call, microseconds that it took, length.
_HEAD = struct.Struct("<BQII")
#: The largest packet: a message with the largest text, its head and its trace, or with the largest error.
_MOST = 120 << 10

Frame = tuple[int, int, int, memoryview]


class Kind(IntEnum):
    """The kinds of messages."""

    #: To a worker: how to begin; a call; to end one; to give back calls that have not begun;
    #: a large value was read; to end; the program's stderr.
    HELLO, CALL, CANCEL, RECALL, READ, CLOSE, STDERR = range(7)
    #: From a worker: it is ready; it cannot start; a value; an error; a cancel has arrived; calls given back; a call
    #: that does not stop; a call that ends the worker; a record of its log; how its shutdown went; spans that ended;
    #: counts of effects.
    READY, FAILED, VALUE, ERROR, STOPPING, RETURNED, STUCK, EXITS, LOG, REPORT, SPANS, COUNTS = range(8, 20)


def frame(kind: Kind, number: int = 0, body: bytes = b"", took: int = 0) -> bytes:
    """A message."""
    return _HEAD.pack(kind, number, took, len(body)) + body


def frames(packet: bytes) -> Iterator[Frame]:
    """The messages of a packet; ValueError for what is none."""
    view, at = memoryview(packet), 0
    while at < len(view):
        if len(view) - at < _HEAD.size:
            raise ValueError("a packet ends within a head")
        kind, number, took, length = _HEAD.unpack_from(view, at)
        at += _HEAD.size
        if length > len(view) - at:
            raise ValueError("a packet ends within a message")
        yield kind, number, took, view[at : at + length]
        at += length


class Link:
    """One end of the pair. With `blocks`, sends wait for room, and a receive may wait; without, BlockingIOError."""

    def __init__(self, end: socket.socket, *, blocks: bool) -> None:
        self.end = end
        end.setblocking(blocks)

    def send(self, packet: bytes, fd: int | None = None) -> None:
        """Sends a packet: all of it."""
        if fd is None:
            self.end.send(packet, socket.MSG_NOSIGNAL)
        else:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
            self.end.sendmsg([packet], [rights], socket.MSG_NOSIGNAL)

    def receive(self, *, wait: bool = False) -> tuple[list[Frame], int | None] | None:
        """The messages of the next packet, and its descriptor. None: the other end is closed."""
        how = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
        try:
            packet, rights, flags, _ = self.end.recvmsg(_MOST, socket.CMSG_SPACE(4), how)
        except ConnectionResetError:  # it ended with messages unread
            return None
        fds = array.array("i")
        for level, kind, data in rights:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not packet:
            return None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) > 1:
                raise ValueError("a packet was cut")
            return list(frames(packet)), fds[0] if fds else None
        except ValueError:
            for fd in fds:
                os.close(fd)
            raise
