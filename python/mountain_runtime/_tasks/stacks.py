"""The stacks of Python code: of a task that waits, and of a thread that runs."""

import asyncio
import contextlib
import gc
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from .._native import Effect, Run

__all__ = ["of_frame", "of_task", "of_thread", "of_traceback", "place", "through"]


def of_task(task: "asyncio.Future[Any]") -> list[str]:
    """The lines in which a task waits, outermost first, through everything that it awaits."""
    return [line for _, line in through(task) if line is not None]


def through(task: "asyncio.Future[Any]") -> Iterator[tuple[Any, str | None]]:
    """Everything that a task awaits, outermost first, each with the line in which it waits, if it is Python's."""
    awaited: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    seen: set[int] = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        if type(awaited).__name__ in ("async_generator_asend", "async_generator_athrow"):
            # A step of an async generator says of which by no attribute.
            awaited = next((of for of in gc.get_referents(awaited) if hasattr(of, "ag_frame")), awaited)
        frame = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
        yield awaited, _line(frame) if isinstance(frame, FrameType) and not isinstance(awaited, (Effect, Run)) else None
        awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _first(of: Any, *names: str) -> Any:
    """The first of these attributes that there is. An awaitable of the user's may raise anything."""
    for name in names:
        with contextlib.suppress(Exception):
            if (found := getattr(of, name, None)) is not None:
                return found
    return None


def of_traceback(traceback_: TracebackType | None) -> list[str]:
    """The lines through which an error came, outermost first."""
    return [_line(frame, number) for frame, number in traceback.walk_tb(traceback_)]


def of_thread(ident: int) -> list[str]:
    """The lines in which a thread runs, outermost first."""
    return of_frame(sys._current_frames().get(ident))


def of_frame(frame: FrameType | None) -> list[str]:
    """The same of the thread whose innermost frame this is."""
    return [] if frame is None else [_line(each) for each, _ in traceback.walk_stack(frame)][::-1]


def _line(frame: FrameType, number: int | None = None) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{number or frame.f_lineno} in {code.co_qualname.rpartition('<locals>.')[2]}"


def place(stack: list[str]) -> str:
    """For a message: the innermost line outside of Python's own library, or the innermost, or nothing."""
    lines = [line for line in stack if not line.startswith(_LIBRARY) or "site-packages" in line] or stack
    return f" (at {lines[-1]})" if lines else ""


_LIBRARY = str(Path(asyncio.__file__).parents[1])
