"""Programs that a test answers, without processes."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

from .._native import Completed
from .._tasks.pretended import programs
from ..policy._given import shown

__all__ = ["Command", "process"]


@dataclass(frozen=True, slots=True)
class Command:
    """A program and what it is given, as `process.run` has them."""

    argv: tuple[str, ...]
    input: bytes
    cwd: str | None
    #: None: this process's own.
    env: Mapping[str, str] | None


def process(answer: Callable[[Command], Completed | Awaitable[Completed]]) -> AbstractContextManager[list[Command]]:
    """In the block, `answer` takes the place of all programs of `process.run`.

    It is called with each Command, and returns a `process.Completed` or raises what the run raises, such as
    FileNotFoundError; it may be a coroutine function, whose sleeps are in virtual time under the fixture
    `virtual_clock`. Policies, `check` and `max_output` work as they do with a program. The block's value is the list of
    the commands, which grows. `process.open`, terminals and sidecars start their programs as ever.
    """
    if not callable(answer):
        raise TypeError(
            "testing.process() takes a function of a Command, as lambda command: process.Completed(stdout=b'...'), "
            f"not {shown(answer)}"
        )
    return _Answers(answer)


class _Answers(AbstractContextManager[list[Command]]):
    def __init__(self, answer: Callable[[Command], Completed | Awaitable[Completed]]) -> None:
        self._answer = answer
        self._commands: list[Command] = []

    def __enter__(self) -> list[Command]:
        programs.append(self._pretend)
        return self._commands

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        programs.remove(self._pretend)

    async def _pretend(self, argv: tuple[Any, ...], data: bytes, cwd: Any, env: Mapping[str, str] | None) -> Completed:
        where = None if cwd is None else os.fsdecode(cwd)
        command = Command(tuple(map(os.fsdecode, argv)), data, where, env)
        self._commands.append(command)
        said = self._answer(command)
        completed = await said if inspect.isawaitable(said) else said
        if not isinstance(cast("object", completed), Completed):
            raise TypeError(f"the function of testing.process() gives a process.Completed, not {shown(completed)}")
        return completed
