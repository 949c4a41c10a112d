"""The caller of the suite `rpc`, the same for all hosts, and cheap: bytes that are there already, by blocking calls.

While the clock runs, what comes is only counted; it is read afterwards.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Bytes of one read: what a pipe holds.
READ = 1 << 16
#: Bytes from the end that hold the answer after a stream.
LAST = 200

_ROOT = Path(__file__).parents[1]
_HOSTS = Path(__file__).with_name("rpc_hosts.py")


def request(number: int, method: str, **params: Any) -> bytes:
    """A request with its frame."""
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def messages(came: bytes) -> list[Any]:
    """The messages in bytes that end with the last one; of one that is cut off there is a ValueError."""
    found: list[Any] = []
    at = 0
    while at < len(came):
        start, length = _frame(came, at)
        at = start + length
        found.append(json.loads(came[start:at]))
    return found


def _frame(came: bytes, at: int) -> tuple[int, int]:
    """Where the message begins whose headers are there, and how long it is."""
    start = came.index(b"\r\n\r\n", at) + 4
    lengths = [line.split(b":")[1] for line in came[at:start].split(b"\r\n") if line.startswith(b"Content-Length")]
    return start, int(lengths[0])


class Host:
    """A host on the pipes of its process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._writes, self._reads = process.stdin.fileno(), process.stdout.fileno()

    def _read(self) -> bytes:
        data = os.read(self._reads, READ)
        assert data, "the host has ended"
        return data

    def size_of(self, sent: bytes, answers: int) -> int:
        """The bytes that come for what is sent: as many each time, in whatever order the answers are."""
        os.write(self._writes, sent)
        came, whole = b"", 0
        while whole < answers:
            came += self._read()
            try:
                whole = len(messages(came))
            except ValueError:  # the last one is cut off
                continue
        return len(came)

    def turns(self, sent: bytes, size: int, turns: int) -> list[bytes]:
        """Sends the same so many times, each time when `size` bytes have come for it: all that came."""
        came: list[bytes] = []
        for _ in range(turns):
            os.write(self._writes, sent)
            left = size
            while left > 0:
                data = self._read()
                came.append(data)
                left -= len(data)
        return came

    def streamed(self, sent: bytes) -> list[bytes]:
        """Sends a request for a stream: all that came until its answer, a number, was there."""
        os.write(self._writes, sent)
        came, last = [], b""
        while b'"result"' not in last or not last.endswith(b"}"):
            data = self._read()
            came.append(data)
            last = (last + data)[-LAST:]
        return came

    def answered(self, sent: bytes) -> list[bytes]:
        """Sends one request: its answer, which may be large."""
        os.write(self._writes, sent)
        first = self._read()
        while b"\r\n\r\n" not in first:
            first += self._read()
        came, left = [first], sum(_frame(first, 0)) - len(first)
        while left > 0:
            data = self._read()
            came.append(data)
            left -= len(data)
        return came


@contextmanager
def host(*argv: str) -> Iterator[Host]:
    """A host of `rpc_hosts.py`, until the end of the block."""
    program = [sys.executable, "-W", "ignore", str(_HOSTS), *argv]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0) as child:
        try:
            yield Host(child)
        finally:
            child.kill()


def at_socket(path: str) -> socket.socket:
    """A caller of the host there; one that only starts is waited for."""
    until = time.monotonic() + 60
    while True:
        caller = socket.socket(socket.AF_UNIX)
        try:
            caller.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            caller.close()
            assert time.monotonic() < until, "the host does not start"
            time.sleep(0.02)  # another process starts
        else:
            return caller
