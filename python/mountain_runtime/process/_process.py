"""A process that lives while the program talks to it, and the block that it belongs to."""

import asyncio
import errno
import os
import reprlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import ClassVar, TypeVar, cast

from .._effect.habits import Habits
from .._effect.misused import AsyncBlockOnly
from .._tasks.outlast import shielded
from ..errors import ConfigError
from ._live import Live

__all__ = ["Block", "Process", "StrPath", "checked"]

StrPath = str | os.PathLike[str]

#: Seconds between SIGTERM and SIGKILL at the end of a block.
_GRACE = 0.5


class Process(Habits):
    """A program that runs, with pipes to its stdin and from its stdout. It belongs to the block that opened it."""

    _ways: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("terminate", "kill", "send_signal"), "write signal(signal.SIGTERM), or leave the block"),
        **dict.fromkeys(("close", "sendeof"), "leave the block, or write close_stdin() for the end of its input"),
        **dict.fromkeys(("returncode", "poll", "exitstatus"), "write `await wait()`"),
        **dict.fromkeys(("communicate", "stderr"), "write process.run(*argv, input=...) for the whole output"),
        **dict.fromkeys(("stdin", "sendline", "sendall"), "write `await send(line)`"),
        **dict.fromkeys(("stdout", "read", "readline"), "write receive(), or `async for line in lines():`"),
        **dict.fromkeys(
            ("expect", "expect_exact", "expect_list", "read_nonblocking", "before", "after", "match"),
            "write `async for chunk in chunks():`, and look for the text in them",
        ),
    }

    def __init__(self, child: Live) -> None:
        self._child = child
        #: Lines that have come and that no call has received.
        self._ahead: deque[bytes] = deque()
        #: One exchange at a time; and answers that are still to come, to exchanges that were cancelled.
        self._exchanging = asyncio.Lock()
        self._owed = 0

    @property
    def pid(self) -> int:
        """Its number, which is its group's too."""
        return self._child.pid

    def __repr__(self) -> str:
        code = self._child.returncode
        return f"<{type(self).__name__} pid={self.pid} {'running' if code is None else f'returncode={code}'}>"

    @staticmethod
    def _bare(line: bytes) -> bytes:
        """Without its line end."""
        return line.removesuffix(b"\n")

    async def send(self, line: bytes) -> None:
        """Writes a line to its stdin, with a line end if it has none; returns when the pipe has taken it.

        Raises BrokenPipeError when the process reads no more. A send that is cancelled before its first byte is left
        out; one that has begun is still written to its end.
        """
        if isinstance(cast("object", line), str):
            raise TypeError("send() takes bytes, not str: write send(line.encode())")
        await self._put(line if line.endswith(b"\n") else line + b"\n")

    async def _put(self, data: bytes) -> None:
        try:
            await self._child.send(data)
        except BrokenPipeError:
            raise _gone(self._child, "reads no more") from None

    async def receive(self) -> bytes:
        """The next line of its stdout, without its line end.

        Raises ValueError for a line of more than 64 MiB, whose bytes `chunks` still yields, and BrokenPipeError at the
        end of the output, so that one error says that the process is gone, in whichever half of an exchange that is
        noticed.
        """
        line = self._ahead.popleft() if self._ahead else await self._child.next("line")
        if line is None:
            raise _gone(self._child, "writes no more")
        return self._bare(line)

    async def exchange(self, line: bytes) -> bytes:
        """Sends a line, and receives the line that answers it, of a program that answers each line with one.

        One exchange is under way at a time, in the order of the calls. Cancelled or timed out, it leaves no answer
        behind: the next exchange drops what comes late. `send` and `receive` beside it would take its answer. Raises
        what these raise.
        """
        async with self._exchanging:
            while self._owed:
                await self.receive()
                self._owed -= 1
            sending = asyncio.ensure_future(self.send(line))
            self._owed += 1
            try:
                await asyncio.shield(sending)  # cancelled, it may be written all the same
                answer = await self.receive()
            except asyncio.CancelledError:
                sending.add_done_callback(_read)
                raise
            except BaseException:
                self._owed -= 1
                raise
            self._owed -= 1
            return answer

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of its stdout, without their line ends, up to the end. One of more than 64 MiB is a ValueError."""
        while True:
            while self._ahead:
                yield self._bare(self._ahead.popleft())
            lines = await self._child.next("lines")
            if lines is None:
                return
            self._ahead.extend(lines)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its stdout as it comes, up to the end."""
        while True:
            if self._ahead:
                ahead = b"".join(self._ahead)
                self._ahead.clear()
                yield ahead
            chunk = await self._child.next("chunk")
            if chunk is None:
                return
            yield chunk

    async def close_stdin(self) -> None:
        """Ends its stdin, after what has been sent."""
        await self._child.close_stdin()

    def signal(self, number: int, /) -> None:
        """Sends a signal to the whole group. Raises ProcessLookupError when the process is over."""
        self._child.signal(number)

    async def wait(self) -> int:
        """Waits until the process has ended: its exit code, or the signal that ended it as a negative number.

        A process that writes more than is read of its output waits for its reader: read it, or the wait may be long.
        """
        return await self._child.wait()

    #: Whether another run follows, when this one has ended.
    _restarts = False

    async def _connected(self) -> "tuple[Process, Callable[[], None]]":
        """The run that there is, and what is called when its pipes are found closed."""
        return self, _nothing


def _nothing() -> None: ...


def _read(sending: "asyncio.Future[None]") -> None:
    if not sending.cancelled():
        sending.exception()  # the next exchange has it, too


def _gone(child: Live, how: str) -> BrokenPipeError:
    code = child.returncode
    state = "it has closed the pipe" if code is None else f"it has ended with {code}"
    return BrokenPipeError(errno.EPIPE, f"process {child.pid} {how}: {state}. Open another one to go on")


P = TypeVar("P", bound=Process)


class Block(AsyncBlockOnly, AbstractAsyncContextManager[P]):
    """Starts a process, and ends it: `_block` says how it is written, `of` makes what it is in the block."""

    def __init__(self, start: Callable[[], Awaitable[Live]], of: Callable[[Live], P]) -> None:
        self._start, self._of = start, of
        self._entered = False
        self._child: Live | None = None

    async def __aenter__(self) -> P:
        if self._entered:
            raise RuntimeError(f"a {self._block.partition('(')[0]}() is entered once: make another")
        self._entered = True
        self._child = await self._start()
        return self._of(self._child)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._child is not None
        with shielded(error):
            await self._child.end(_GRACE if kind is None else 0.0)


def checked(owner: str, argv: tuple[StrPath, ...]) -> tuple[StrPath, ...]:
    """A program and its arguments; a ConfigError if they can be none."""
    if not argv:
        raise ConfigError(f"{owner}(): needs a program to run")
    for each in argv:
        given: object = each
        if not isinstance(given, (str, bytes, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            advice = f"write {owner}(*argv)" if isinstance(given, (list, tuple)) else "convert it by str()"
            shown = reprlib.repr(given)
            raise ConfigError(f"{owner}({shown}): takes the program and each argument as a text of its own: {advice}")
    return argv
