"""Fuzz target: bytes that are cut anywhere give the messages and the failure that a plain parser finds in the whole."""

import re
from collections.abc import Iterator
from itertools import pairwise
from unittest import mock

from mountain_runtime.rpc._messages import framing
from mountain_runtime.rpc._messages.framing import Frames, Framing, frames

#: Bytes of headers, so that short inputs reach the bound.
HEADERS = 48
#: Inputs to begin with: the first four bytes say how they are framed, cut and bounded.
SEEDS = [
    b"\x00\x03\x40\x05Content-Length: 2\r\n\r\n{}Content-Length: 3\r\nX: y\r\n\r\n[1]",
    b"\x00\x01\x10\x11content-length:2\r\ncontent-type: a; charset=utf-8\r\n\r\n{}",
    b"\x00\x07\x04\x01Content-Length: 5\r\n\r\n{}",
    b"\x01\x02\x10\x09{}\r\n\n \t\r\n[1,2]\n{",
    b"\x01\x05\x03\x02{}}}\r\n{}\n",
]


def check(data: bytes) -> None:
    """Raises AssertionError where the framing errs."""
    if len(data) < 4:
        return
    kind: Framing = "lines" if data[0] & 1 else "lsp"
    most, stream = data[2], data[4:]
    with mock.patch.object(framing, "_HEADERS", HEADERS):
        whole = _fed(frames(kind, most), [stream], most)
        pieces = _fed(frames(kind, most), _pieces(stream, data[1], data[3]), most)
        bytewise = _fed(frames(kind, most), [bytes([each]) for each in stream], most)
    assert pieces == whole, (kind, most, stream, pieces, whole)
    assert bytewise == whole, (kind, most, stream, bytewise, whole)
    messages, fails = _lines(stream, most) if kind == "lines" else _headed(stream, most)
    assert whole[0] == messages, (kind, most, stream, whole, messages)
    assert (whole[1] is not None) == fails, (kind, most, stream, whole, fails)


def _fed(decoder: Frames, pieces: list[bytes], most: int) -> tuple[list[bytes], str | None]:
    found: list[bytes] = []
    for piece in pieces:
        found += [bytes(each) for each in decoder.feed(piece)]
        kept = sum(len(each) for each in vars(decoder).values() if isinstance(each, (bytes, bytearray)))
        assert decoder.failure is not None or kept <= most + HEADERS + 4, (kept, most)
    decoder.end()
    return found, None if decoder.failure is None else str(decoder.failure)


def _pieces(stream: bytes, step: int, seed: int) -> list[bytes]:
    places, place = [0], 0
    while place < len(stream):
        seed = (seed * 1103515245 + 12345) % (1 << 31)
        place = min(len(stream), place + 1 + seed % (step % 16 + 1))
        places.append(place)
        seed += step + 1
    return [stream[start:stop] for start, stop in pairwise(places)]


def _lines(stream: bytes, most: int) -> tuple[list[bytes], bool]:
    """A plain parser of lines: the messages, and whether it fails."""
    *lines, rest = stream.split(b"\n")
    found: list[bytes] = []
    for line in lines:
        if len(re.sub(rb"\r\Z", b"", line)) > most:
            return found, True
        if line[:15].lower() == b"content-length:":
            return found, True
        found += [text] if (text := line.strip(b" \t\r")) else []
    return found, len(re.sub(rb"\r\Z", b"", rest)) > most or bool(rest.strip(b" \t\r"))


def _headed(stream: bytes, most: int) -> tuple[list[bytes], bool]:
    """A plain parser of headers and messages."""
    found: list[bytes] = []
    while stream:
        head, end, rest = stream.partition(b"\r\n\r\n")
        if not end or len(head) > HEADERS or head[:1] in (b"{", b"[") or b":" not in head.split(b"\n")[0]:
            return found, True
        lengths = list(_lengths(head))
        if len(lengths) != 1 or lengths[0] is None or lengths[0] > most or len(rest) < lengths[0]:
            return found, True
        found.append(rest[: lengths[0]])
        stream = rest[lengths[0] :]
    return found, False


def _lengths(head: bytes) -> Iterator[int | None]:
    """Each Content-Length there is; None for what ends it all."""
    for line in head.split(b"\r\n"):
        if b":" not in line:
            yield None
            yield None
            continue
        name, value = (each.strip() for each in line.split(b":", 1))
        if name.lower() == b"content-length":
            yield int(value) if re.fullmatch(rb"[0-9]{1,15}", value) else None
        if name.lower() == b"content-type" and b"charset" in value.lower() and b"utf" not in value.lower():
            yield None
            yield None
