"""A program on a terminal: what asks whether a person is there is told yes."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Never, cast

from .. import _native
from .._tasks.pretended import programs
from .._tasks.scope import current
from ..errors import ConfigError
from ..policy._numbers import count
from ._answered import started
from ._live import Live
from ._misused import foreign
from ._process import Block, Process, StrPath, checked

__all__ = ["Terminal", "terminal"]

#: Columns, and rows, that a terminal has at most.
_MOST = 1000


class Terminal(Process):
    """A program that runs on a terminal of its own. Its stdin, stdout and stderr are that terminal."""

    _ways: ClassVar[Mapping[str, str]] = {
        **Process._ways,
        **dict.fromkeys(("sendcontrol", "sendintr"), 'write `await write(b"\\x03")`, which is Ctrl-C'),
        "sendeof": 'write `await write(b"\\x04")`, which is Ctrl-D',
        **dict.fromkeys(("setwinsize", "set_winsize"), "write resize(columns, rows)"),
        **dict.fromkeys(("display", "buffer", "screenshot"), "write screen()"),
        **dict.fromkeys(("fileno", "fd", "interact"), "write write(data), and `async for chunk in chunks():`"),
    }

    async def write(self, data: bytes) -> None:
        """Writes to the terminal as a person types: `b"\\r"` is Enter, `b"\\x03"` Ctrl-C, `b"\\x04"` Ctrl-D.

        Returns when the terminal has taken all of it, which waits for a program that does not read. Raises
        BrokenPipeError when the terminal is closed. A write that is cancelled before its first byte is left out; one
        that has begun is still written to its end.
        """
        if isinstance(cast("object", data), str):
            raise TypeError("write() takes bytes, not str: write write(text.encode())")
        await self._put(data)

    async def close_stdin(self) -> None:
        """Types Ctrl-D, which at the start of a line is the end of its input."""
        await self._put(b"\x04")

    async def wait(self) -> int:
        """Waits until the program has ended and what it wrote has been drawn: its exit code, as `Process.wait` has it.

        Needs no reader: while a call waits, and none has ever asked for the output, what is more than is kept for a
        reader goes to the screen alone. A call that asks for it later is a ValueError.
        """
        return await super().wait()

    def resize(self, columns: int, rows: int) -> None:
        """Gives the terminal another size; the program is told by SIGWINCH.

        Raises ProcessLookupError when the program is over, ConfigError for less than 1 or more than 1000.
        """
        _check_size("Terminal.resize", columns, rows)
        self._child.resize(columns, rows)

    def screen(self) -> str:
        """The text that a person would see now: a line for each row, without spaces at its end or empty rows below.

        Needs no reader, as `wait` does not: from the first look on, and until a call asks for the output.
        """
        return self._child.screen()

    @staticmethod
    def _bare(line: bytes) -> bytes:
        return line.removesuffix(b"\n").removesuffix(b"\r")


def terminal(
    *argv: StrPath, columns: int = 80, rows: int = 24, cwd: StrPath | None = None, **other: Never
) -> AbstractAsyncContextManager[Terminal]:
    """Starts a program on a terminal: `async with process.terminal("bash") as t:`.

    It leads a session, whose terminal that is, and has this process's environment, with TERM=xterm-256color. Its output
    is drawn as it comes and kept for a reader, up to 256 KiB; then the program waits for one, unless only `screen` and
    `wait` are called. Leaving the block sends
    SIGTERM and SIGHUP; half a second later, or when the program has ended, what is left of the session is killed. An
    error or a cancel in the block kills at once. Either way the block ends when the program has been reaped.

    Raises OSError, with errno and filename, when it cannot be started, ConfigError for a size that is not 1 to 1000.
    """
    if other:
        raise foreign("process.terminal", other)
    _native.needs("terminal")
    argv = checked("process.terminal", argv)
    _check_size("process.terminal", columns, rows)

    async def start() -> Live:
        if programs:
            return await started("process.terminal", argv, cwd, None, (columns, rows))
        scope = current()
        return await _native.process_terminal(argv, cwd, columns, rows, None if scope is None else scope._number)

    return _Block(start, Terminal)


class _Block(Block[Terminal]):
    _block = "process.terminal(...) as t"


def _check_size(owner: str, columns: int, rows: int) -> None:
    for setting, given in (("columns", columns), ("rows", rows)):
        if count(given, owner, setting) > _MOST:
            raise ConfigError(f"{owner}({setting}={given}): must be {_MOST} or less")
