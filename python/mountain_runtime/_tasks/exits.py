"""SystemExit and KeyboardInterrupt in tasks of this package.

asyncio lets both through the event loop at once, past all cleanup. Here a task ends with an `Exit`, which asyncio keeps
as it keeps any error; `result_of` raises what it carries. Work that a runtime owns tells the runtime,
which shuts down in order and raises it at the end of its block.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["EXITS", "Exit", "carried", "closing", "error_of", "is_close", "result_of", "task_of"]

T = TypeVar("T")

EXITS = (SystemExit, KeyboardInterrupt)


class Exit(BaseException):
    """Carries one of `EXITS` through a task or a future. `except Exception` does not catch it."""

    def __init__(self, of: BaseException) -> None:
        super().__init__(of)
        self.of = of


async def carried(work: Awaitable[T]) -> T:
    """`await work`, for a task whose result `result_of` reads."""
    try:
        return await work
    except EXITS as error:
        raise Exit(error) from None


def task_of(work: Awaitable[T]) -> "asyncio.Task[T]":
    """A task that awaits `work` by `carried`."""
    return closing(asyncio.create_task(carried(work)), work)


def closing(task: "asyncio.Task[T]", work: object) -> "asyncio.Task[T]":
    """`task`, which awaits the coroutine `work` and closes it where it is cancelled before its first step."""
    if (close := getattr(work, "close", None)) is not None:
        task.add_done_callback(lambda _: close())
    return task


def result_of(task: "asyncio.Future[T]") -> T:
    """The task's result; raises its error, or the exit that it carries."""
    try:
        return task.result()
    except Exit as exit:  # noqa: A001 - that is what it is
        raise exit.of from None


def error_of(task: "asyncio.Future[Any]") -> BaseException | None:
    """The error of a task that was not cancelled, or the exit that it carries."""
    error = task.exception()
    return error.of if isinstance(error, Exit) else error


def is_close(error: BaseException, task: "asyncio.Task[Any] | None") -> bool:
    """Whether the coroutine of `task` is being closed, which allows no wait. A GeneratorExit in a step of the task is
    an error of the code that it runs.
    """
    if not isinstance(error, GeneratorExit):
        return False
    return asyncio._get_running_loop() is None or asyncio.current_task() is not task
