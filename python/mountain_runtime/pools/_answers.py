"""Calls and answers as packets, for engines that carry them by themselves."""

import struct
import time
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._call import Call

__all__ = ["HEAD", "End", "packet"]

#: The number of a call, and the seconds that the limit of its caller leaves; below 0 without one.
HEAD = struct.Struct("<Qd")


class End(IntFlag):
    """How a call has ended: with a value, an error, or an exit of its program; and whether a function of it goes on."""

    VALUE, ERROR, EXIT, STUCK = 1, 2, 4, 8


def packet(call: "Call") -> bytes:
    """A call's packet, with its envelope; the pieces of large arguments go beside it."""
    left = -1.0 if call.ends is None else max(call.ends - time.monotonic(), 0.0)
    return HEAD.pack(call.number, left) + call.body
