"""Programs that a test plays, without processes."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

from .._native import Completed
from .._tasks.pretended import Programs, programs
from ..errors import ConfigError
from ..policy._given import shown
from ._program import Program, result

__all__ = ["Command", "process"]


@dataclass(frozen=True, slots=True)
class Command:
    """A program and what it is given; its methods are for the function that plays it, as long as that runs."""

    argv: tuple[str, ...]
    #: All that `process.run` gives it. Other programs are sent what they read later.
    input: bytes
    cwd: str | None
    #: None: this process's own.
    env: Mapping[str, str] | None
    _program: Program | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int] | None:
        """The columns and rows of its terminal, as they are now; None without a terminal."""
        return self._playing().size

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines that it is sent, or that are typed, without their line ends, up to the end of its input."""
        program = self._playing()
        while (line := await program.read("line")) is not None:
            yield line.removesuffix(b"\n")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its input as it comes, up to the end."""
        program = self._playing()
        while (chunk := await program.read("chunk")) is not None:
            yield chunk

    async def send(self, line: bytes) -> None:
        """Writes a line to its stdout, with a line end if it has none."""
        if isinstance(cast("object", line), str):
            raise TypeError("send() takes bytes, not str: write send(line.encode())")
        await self.write(line if line.endswith(b"\n") else line + b"\n")

    async def write(self, data: bytes, *, stderr: bool = False) -> None:
        """Writes to its stdout, or stderr, and waits while what it has written is not read, as a process does."""
        if isinstance(cast("object", data), str):
            raise TypeError("write() takes bytes, not str: write write(text.encode())")
        await self._playing().write(data, stderr=stderr)

    def on_signal(self, number: int, handler: Callable[[], object], /) -> None:
        """Calls it for each such signal, which ends the program no more: also SIGWINCH, for a new size.

        A signal without a handler is a cancel of the function, whose exit code is then the signal as a negative number,
        unless it goes on and returns. Raises ConfigError for SIGKILL and SIGSTOP, which no program hears of.
        """
        if number in (signal.SIGKILL, signal.SIGSTOP):
            raise ConfigError(f"on_signal({signal.Signals(number).name}): no program hears of it")
        self._playing().handlers[number] = handler

    def raw(self) -> None:
        """From now on its terminal gives it each byte that is typed, and shows none: Ctrl-C is b"\\x03", no signal."""
        self._playing().set_raw()

    def _playing(self) -> Program:
        if self._program is None:
            raise RuntimeError("a Command can be read and written by the function of testing.process() that it is for")
        return self._program


Answer = Callable[[Command], Completed | Awaitable[Completed]]


def process(answer: Answer) -> AbstractContextManager[list[Command]]:
    """In the block, `answer` takes the place of all programs: of `process.run`, `open`, `terminal` and of sidecars.

    It is called with each Command, and returns a `process.Completed`: the exit code, and what is written in the end.
    Where the program is to be talked to it is a coroutine function, which reads `async for line in command.lines()` and
    writes by `await command.send(line)`; its sleeps are in virtual time under the fixture `virtual_clock`. A program
    that cannot be started is an error that is raised at once, such as FileNotFoundError.

    Policies, limits and signals work as they do with a program: the end of the block that opened it cancels it. A
    later error of `answer` is one of `run`, or of the end of the block; in a sidecar it goes to stderr, as the exit
    code 1. The block's value is the list of the commands, which grows. The programs that are left then are ended.
    """
    if not callable(answer):
        raise TypeError(
            "testing.process() takes a function of a Command, as lambda command: process.Completed(stdout=b'...'), "
            f"not {shown(answer)}"
        )
    return _Answers(answer)


class _Answers(AbstractContextManager[list[Command]], Programs):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._commands: list[Command] = []
        self._started: list[Program] = []

    def __enter__(self) -> list[Command]:
        programs.append(self)
        return self._commands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        programs.remove(self)
        for program in self._started:
            program.kill()

    def _command(self, argv: tuple[Any, ...], data: bytes, cwd: Any, env: Any, program: Program) -> Command:
        where = None if cwd is None else os.fsdecode(cwd)
        command = Command(tuple(map(os.fsdecode, argv)), data, where, env)
        object.__setattr__(command, "_program", program)
        self._commands.append(command)
        return command

    async def run(self, argv: tuple[Any, ...], data: bytes, cwd: Any, env: Mapping[str, str] | None, /) -> Completed:
        program = Program(data, None, talks=False, stderr=True)
        done = await result(self._answer(self._command(argv, data, cwd, env, program)))
        out, err = program.collected()
        return Completed(done.returncode, out + done.stdout, err + done.stderr)

    async def open(
        self,
        argv: tuple[Any, ...],
        cwd: Any,
        env: Mapping[str, str] | None,
        terminal: tuple[int, int] | None,
        /,
        *,
        stderr: bool,
    ) -> Program:
        program = Program(b"", terminal, talks=True, stderr=stderr)
        command = self._command(argv, b"", cwd, env, program)
        await program.start(self._answer(command), command.argv[0])
        self._started.append(program)
        return program
