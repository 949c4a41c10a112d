"""HTTP/2 as a server speaks it, frame by frame."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.providers.http.server import Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS = 3
REFUSED_STREAM = 7


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: Connection, streams: int = 100) -> None:
        self.connection = connection
        self._buffer = b""
        assert self._take(len(PREFACE)) == PREFACE
        self.send(SETTINGS, 0, 0, struct.pack(">HI", MAX_CONCURRENT_STREAMS, streams))

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.connection.send(struct.pack(">IBI", len(payload) << 8 | kind, flags, stream), payload)

    def answer(self, stream: int, body: bytes = b"") -> None:
        """200, the eighth entry of the table that every connection has."""
        self.send(HEADERS, END_HEADERS, stream, b"\x88")
        self.send(DATA, END_STREAM, stream, body)

    def frames(self) -> Iterator[Frame]:
        """Without the settings, which are acknowledged."""
        while True:
            length, flags, stream = struct.unpack(">IBI", self._take(9))
            frame = Frame(length & 255, flags, stream, self._take(length >> 8))
            if frame.kind == SETTINGS and not frame.flags & ACK:
                self.send(SETTINGS, ACK, 0)
            elif frame.kind == PING and not frame.flags & ACK:
                self.send(PING, ACK, 0, frame.payload)
            elif frame.kind in (DATA, HEADERS, RESET):
                yield frame

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            more = self.connection.read()
            if not more:
                raise OSError("closed")
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken
