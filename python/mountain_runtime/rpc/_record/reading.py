"""Reads what was recorded: the lines of a file and of the one before, each request with its outcome."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...telemetry import _logs
from .record import LARGE

__all__ = ["Outcome", "Recorded", "read"]

#: Bytes of a line; a longer one is none of ours.
_LONGEST = 2 * LARGE
_log = _logs.logger("rpc")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a request: a result, or an error."""

    #: As JSON. Of a stream it is the number of its items.
    result: Any = None
    #: The error object: `code`, `message`, and mostly `data`.
    error: dict[str, Any] | None = None
    #: Of the JSON of a result of more than 1 MiB, in the place of the result.
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request, or a notification, that was recorded."""

    name: str
    #: By name or by position, as JSON.
    params: Any
    #: When it came: seconds since 1970, which go on evenly while its program runs.
    at: float
    #: The `id` of its caller; None for `Router.call`.
    caller: str | None = None
    #: Seconds until its outcome; None if there is none.
    took: float | None = None
    #: None if there is none: its program was killed, or a line is lost.
    outcome: Outcome | None = None


class _Line(msgspec.Struct):
    id: str
    name: str | None = None
    at: float = 0.0
    caller: str | None = None
    params: Any = None
    took: float | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    sha256: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


def read(path: str) -> list[Recorded]:
    """All requests, in the order of their coming. Raises OSError if there is no such file."""
    found: dict[tuple[str, int], tuple[_Line, _Line | None]] = {}
    latest: dict[str, int] = {}
    passed = 0
    for line in _lines(path):
        try:
            each = _decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            passed += 1
            continue
        if each.name is not None:
            latest[each.id] = latest.get(each.id, 0) + 1
            found[each.id, latest[each.id]] = each, None
        elif (key := (each.id, latest.get(each.id, 0))) in found and each.took is not None:
            found[key] = found[key][0], each
    if passed:
        _log.warning("%s has %d lines that are no records; they are passed over", path, passed)
    return [_recorded(request, end) for request, end in found.values()]


def _recorded(request: _Line, end: _Line | None) -> Recorded:
    outcome = None if end is None else Outcome(end.result, end.error, end.sha256)
    took = None if end is None else end.took
    return Recorded(request.name or "", request.params, request.at, request.caller, took, outcome)


def _lines(path: str) -> Iterator[bytes]:
    """Whole ones. A longer one than any of ours comes as an empty one, and takes no memory."""
    files = [each for each in (Path(path + ".1"), Path(path)) if each.is_file()]
    for each in files or [Path(path)]:
        with each.open("rb") as file:
            while line := file.readline(_LONGEST):
                if line.endswith(b"\n"):
                    if line != b"\n":
                        yield line
                    continue
                while line and not line.endswith(b"\n"):
                    line = file.readline(_LONGEST)
                yield b""
