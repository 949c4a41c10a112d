"""A program that a test plays, whose calls are effects with the names of a process's."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from .._effect.effect import effect
from .._native import Effect
from ._live import Live

__all__ = ["Played"]

T = TypeVar("T")


class Played(Live):
    """It is counted, traced and limited as a process is."""

    def __init__(self, program: Live) -> None:
        self._program = program

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def returncode(self) -> int | None:
        return self._program.returncode

    def signal(self, number: int, /) -> None:
        self._program.signal(number)

    def resize(self, columns: int, rows: int, /) -> None:
        self._program.resize(columns, rows)

    def screen(self) -> str:
        return self._program.screen()

    def next(self, part: Any, /) -> Effect[Any]:
        return _counted("process.receive", self._program.next, part)

    def watch_output(self, part: Literal["line", "chunk"], stderr: bool, /) -> Awaitable[bytes | None]:
        return self._program.watch_output(part, stderr)

    def watch_end(self, waits: bool = False, /) -> Awaitable[int]:
        return self._program.watch_end(waits)

    def send(self, data: bytes, /) -> Effect[None]:
        return _counted("process.send", self._program.send, data)

    def close_stdin(self) -> Effect[None]:
        return _counted("process.close_stdin", self._program.close_stdin)

    def wait(self) -> Effect[int]:
        return _counted("process.wait", self._program.wait)

    def end(self, grace: float, /) -> Awaitable[None]:
        return self._program.end(grace)


def _counted(name: str, call: Callable[..., Awaitable[T]], *args: object) -> Effect[T]:
    return effect(name=name)(call)(*args)
