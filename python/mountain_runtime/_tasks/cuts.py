"""Cancels that came out of a task although nothing cancelled it: its code was cut short, which is a failure."""

import asyncio
from collections.abc import Iterator
from typing import Any

from .exits import error_of
from .stacks import of_traceback, place

__all__ = ["STOPS", "is_cut", "why_cut"]

#: The message of the cancel by which a runtime asks what it owns to end.
STOPS = "the runtime stops"


def is_cut(task: "asyncio.Future[Any]", error: BaseException) -> bool:
    """Whether `error`, the cancel that came out of `task`, answers no cancel that was asked of it.

    Either the task was never cancelled, or another cancel came out than its runtime's, raised while that was being
    handled. After a cancel that is not the runtime's a second one cannot be told from the first.
    """
    if isinstance(task, asyncio.Task) and not task.cancelling():
        return True
    return error.args != (STOPS,) and any(_is_ours(each) for each in _handled(error))


def _is_ours(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError) and error.args == (STOPS,)


def _handled(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that were being handled when `error` was raised, unless it was raised `from` another."""
    while not error.__suppress_context__ and (context := error.__context__) is not None:
        yield (error := context)


def why_cut(task: "asyncio.Task[Any]", name: str) -> tuple[BaseException | None, list[str]]:
    """The error of a task that has ended, or a CancelledError where `is_cut`, with the lines in which it was cut."""
    if not task.cancelled():
        return error_of(task), []
    try:
        task.result()
    except asyncio.CancelledError as cancelled:
        if is_cut(task, cancelled):
            where = of_traceback(cancelled.__traceback__)
            return asyncio.CancelledError(f"{name} was cut short: a cancel came out of it{place(where)}"), where
    return None, []
