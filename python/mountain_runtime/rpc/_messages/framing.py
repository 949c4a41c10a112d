"""Framing: the messages in a stream of bytes, and a message as bytes. It reads and writes nothing itself."""

import re
from typing import Literal, Protocol, get_args

from ...errors import ConfigError

__all__ = ["Framing", "FramingError", "Frames", "HeaderFrames", "LineFrames", "check_framing", "frames", "framed"]

#: `Content-Length` headers before each message, as language servers have it, or one message a line.
Framing = Literal["lsp", "lines"]

#: Bytes of the headers of one message, at most, and digits of a length.
_HEADERS, _DIGITS = 8192, 15
#: Bytes around the message of a line.
_BLANK = b" \t\r"
_HEADER = re.compile(rb"Content-Length: ([0-9]{1,15})\r\n\r\n")


class FramingError(ValueError):
    """Where one message ends and the next begins cannot be told any more."""


class Frames(Protocol):
    """Finds the messages in bytes that come in any pieces."""

    #: Why no more is found. Messages before that place have been given.
    failure: FramingError | None

    def feed(self, data: bytes, /) -> "list[bytes | bytearray]":
        """The messages that end in `data`, which follows what was fed before."""
        ...

    def end(self) -> None:
        """Nothing follows: sets `failure` where a message is cut off."""
        ...


class HeaderFrames(Frames):
    """Messages after `Content-Length` headers."""

    def __init__(self, max_message: int) -> None:
        self.failure: FramingError | None = None
        self._max = max_message
        self._buffer = bytearray()
        #: Of the message whose headers are whole; -1 before that.
        self._length = -1

    def feed(self, data: bytes, /) -> "list[bytes | bytearray]":
        found: list[bytes | bytearray] = []
        if self.failure is not None:
            return found
        if self._length < 0 and not self._buffer:
            data = self._cut(data, found)
        if data:
            self._collect(data, found)
        return found

    def _cut(self, data: bytes, found: "list[bytes | bytearray]") -> bytes:
        """Takes messages that are whole and have the one header that most have. Gives the rest."""
        at = 0
        while (header := _HEADER.match(data, at)) is not None:
            start = header.end()
            stop = start + int(header[1])
            if stop > len(data) or stop - start > self._max:
                break
            found.append(data[start:stop])
            at = stop
        return data[at:]

    def _collect(self, data: bytes, found: "list[bytes | bytearray]") -> None:
        """Takes messages with any headers, in any pieces."""
        buffer = self._buffer
        searched = max(0, len(buffer) - 3)
        buffer += data
        at = 0
        while True:
            if self._length < 0:
                self.failure = _no_header(buffer, at)
                if self.failure is not None:
                    return
                end = buffer.find(b"\r\n\r\n", max(at, searched))
                # Three bytes of the end may have come.
                if end - at > _HEADERS or (end < 0 and len(buffer) - at > _HEADERS + 3):
                    self.failure = FramingError(f"headers of more than {_HEADERS} bytes")
                    return
                if end < 0:
                    break
                try:
                    self._length = self._length_in(bytes(buffer[at:end]))
                except FramingError as error:
                    self.failure = error
                    return
                at = end + 4
            stop = at + self._length
            if stop > len(buffer):
                break
            self._length = -1
            if stop == len(buffer):  # all of it, which is not copied
                del buffer[:at]
                found.append(buffer)
                self._buffer = bytearray()
                return
            found.append(bytes(memoryview(buffer)[at:stop]))
            at = stop
        del buffer[:at]

    def _length_in(self, headers: bytes) -> int:
        length = -1
        for line in headers.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon:
                raise FramingError("a header without a colon")
            name, value = name.strip().lower(), value.strip()
            if name == b"content-length":
                if length >= 0:
                    raise FramingError("two Content-Length headers")
                if not value.isdigit() or len(value) > _DIGITS:
                    raise FramingError("a Content-Length that is no number of bytes")
                length = int(value)
            elif name == b"content-type" and b"charset" in value.lower() and b"utf" not in value.lower():
                raise FramingError("a charset other than UTF-8")
        if length < 0:
            raise FramingError("headers without a Content-Length")
        if length > self._max:
            raise FramingError(f"a message of {length} bytes, more than max_message={self._max}")
        return length

    def end(self) -> None:
        if self.failure is None and (self._buffer or self._length >= 0):
            self.failure = FramingError("a message that is cut off")


def _no_header(buffer: bytearray, at: int) -> FramingError | None:
    """Why none begins there. It is seen at the first line: what has no headers may never have their end."""
    if buffer.startswith((b"{", b"["), at):
        return FramingError("JSON without headers, as with framing='lines'")
    end = buffer.find(b"\n", at, at + _HEADERS + 4)  # within the bound, so that it is the same in any pieces
    if end < 0 or b":" in (line := bytes(buffer[at:end])):
        return None
    return FramingError(f"a header without a colon: {line.strip()[:60].decode(errors='replace')!r}")


class LineFrames(Frames):
    """One message a line. Empty lines are none."""

    def __init__(self, max_message: int) -> None:
        self.failure: FramingError | None = None
        self._max = max_message
        #: A line whose end has not come.
        self._rest = bytearray()

    def feed(self, data: bytes, /) -> "list[bytes | bytearray]":
        found: list[bytes | bytearray] = []
        if self.failure is not None:
            return found
        first, newline, after = data.partition(b"\n")
        self._rest += first
        if newline:
            rest, self._rest = self._rest, bytearray()
            lines: list[bytes | bytearray] = [rest, *after.split(b"\n")]
            self._rest += lines.pop()
            for line in lines:
                if self._is_too_long(line):
                    return found
                if line[:15].lower() == b"content-length:":
                    self.failure = FramingError("headers, as with framing='lsp'")
                    return found
                if line := line.strip(_BLANK):
                    found.append(line)
        self._is_too_long(self._rest)
        return found

    def _is_too_long(self, line: "bytes | bytearray") -> bool:
        if len(line) - line.endswith(b"\r") <= self._max:
            return False
        self.failure = FramingError(f"a line of more than max_message={self._max} bytes")
        return True

    def end(self) -> None:
        if self.failure is None and self._rest.strip(_BLANK):
            self.failure = FramingError("a line that is cut off")


def check_framing(given: object, owner: str) -> None:
    """A ConfigError for a framing that there is not."""
    if given not in get_args(Framing):
        raise ConfigError(f"{owner}(framing={given!r}): must be 'lsp', with Content-Length headers, or 'lines'")


def frames(framing: Framing, max_message: int) -> Frames:
    """A new stream's."""
    return HeaderFrames(max_message) if framing == "lsp" else LineFrames(max_message)


def framed(framing: Framing, size: int) -> tuple[bytes, bytes]:
    """The bytes before and after a message of so many bytes."""
    return (b"Content-Length: %d\r\n\r\n" % size, b"") if framing == "lsp" else (b"", b"\n")
