"""Terminals: each lives as long as the stream that shows it, so a caller that goes away leaves none behind."""

import os
import signal
from codecs import getincrementaldecoder
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count

from workspace import Workspace

from mountain_runtime import Timeout, effect, need, process, rpc, stream


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a program writes to its terminal; the first has no text, the last its exit code."""

    terminal: int
    text: str = ""
    exit: int | None = None


class Terminals:
    """Those that are open, by their callers and numbers: a caller has none but its own."""

    def __init__(self) -> None:
        self._open: dict[tuple[rpc.Caller | None, int], process.Terminal] = {}
        self._numbers = count(1)

    @contextmanager
    def listed(self, terminal: process.Terminal) -> Generator[int]:
        """Its number, as long as the block lasts."""
        key = rpc.caller(), next(self._numbers)
        self._open[key] = terminal
        try:
            yield key[1]
        finally:
            del self._open[key]

    def of(self, number: int) -> process.Terminal:
        """A terminal of the caller. Raises LookupError where there is none."""
        found = self._open.get((rpc.caller(), number))
        if found is None:
            raise LookupError(f"there is no terminal {number}")
        return found


@asynccontextmanager
async def open_terminals() -> AsyncGenerator[Terminals]:
    """None at first."""
    yield Terminals()


@stream
async def show(
    command: tuple[str, ...] = (),
    columns: int = 80,
    rows: int = 24,
    *,
    workspace: Workspace = need(Workspace),
    terminals: Terminals = need(Terminals),
) -> AsyncIterator[Output]:
    """Opens a terminal with a program, by default a shell, and streams its output. Its end ends the program."""
    argv = command or (os.environ.get("SHELL", "sh"),)
    async with process.terminal(*argv, columns=columns, rows=rows, cwd=workspace.root) as terminal:
        with terminals.listed(terminal) as number:
            yield Output(number)
            decoder = getincrementaldecoder("utf-8")("replace")
            async for chunk in terminal.chunks():
                yield Output(number, decoder.decode(chunk))
            yield Output(number, exit=await terminal.wait())


@effect(Timeout(10))
async def write(terminal: int, text: str, *, terminals: Terminals = need(Terminals)) -> None:
    """Types a text. Enter is "\\r"."""
    await terminals.of(terminal).write(text.encode())


@effect
async def resize(terminal: int, columns: int, rows: int, *, terminals: Terminals = need(Terminals)) -> None:
    """Gives it another size."""
    terminals.of(terminal).resize(columns, rows)


@effect
async def screen(terminal: int, *, terminals: Terminals = need(Terminals)) -> str:
    """The text that a person would see now."""
    return terminals.of(terminal).screen()


@effect
async def close(terminal: int, *, terminals: Terminals = need(Terminals)) -> None:
    """Hangs up, as a window that is closed: the stream has the exit code. One that goes on ends with its stream."""
    terminals.of(terminal).signal(signal.SIGHUP)
