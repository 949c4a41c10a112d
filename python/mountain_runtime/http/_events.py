"""Lines and server-sent events of a body, from its pieces. The rest of a piece stays for the next read."""

from collections import deque
from dataclasses import dataclass
from io import StringIO

__all__ = ["Event", "Events", "Lines"]


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    #: Its kind: `message` where the server names none.
    event: str
    data: str
    #: The last id that the server has sent: for the header Last-Event-ID of the next request.
    id: str


class Lines:
    """The lines of a body, as far as it has come."""

    __slots__ = ("_after_cr", "rest", "whole")

    def __init__(self) -> None:
        #: Without their ends.
        self.whole: deque[bytes] = deque()
        #: The beginning of a line; it grows in place, however small the pieces are.
        self.rest = bytearray()
        self._after_cr = False

    def put(self, piece: bytes, *, lone: bool) -> None:
        """`lone`: a `\\r` by itself ends a line, too."""
        if lone:
            if self._after_cr:
                piece = piece.removeprefix(b"\n")
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = piece.split(b"\n")
        self.rest += first
        if others:
            self.whole.append(bytes(self.rest))
            self.whole.extend(others[:-1])
            self.rest = bytearray(others[-1])

    def take_all(self) -> bytes:
        """The bytes that were not read."""
        kept = b"".join(line + b"\n" for line in self.whole) + self.rest
        self.whole.clear()
        self.rest = bytearray()
        return kept


class Events:
    """An event in the making."""

    __slots__ = ("_begins", "_data", "_id", "_name")

    def __init__(self) -> None:
        self._name, self._data, self._id = "", StringIO(), ""
        self._begins = True

    def size(self) -> int:
        """In characters."""
        return self._data.tell()

    def take(self, line: str) -> Event | None:
        """One more line: an event, if it is the one that ends it."""
        if self._begins:
            line = line.removeprefix("\ufeff")
            self._begins = False
        if not line:
            name, data, self._name, self._data = self._name, self._data, "", StringIO()
            return Event(name or "message", data.getvalue()[:-1], self._id) if data.tell() else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.write(f"{value}\n")
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None
