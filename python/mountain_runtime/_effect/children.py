"""Work beside the code that started it, which it never outlives: its start, its wait and its end."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar, cast

from .._native import (
    Effect,
    Handle,
    InheritedDeadline,
    PermitContext,
    adopt,
    current_permit_context,
    deadline_var,
    is_native,
    permit_context_var,
)
from .._tasks.exits import carried, task_of
from .._tasks.outlast import outlast

__all__ = ["bound", "end", "first", "start"]

T = TypeVar("T")


def start(work: Awaitable[T], limit: InheritedDeadline | None) -> "asyncio.Future[T]":
    """Starts `work` as a child of the current code, under `limit` and in a copy of its context.

    A native effect needs no task, only its handle. Read what became of it by `_exits.result_of` or `error_of`.
    """
    if limit is None:
        return _start(work)
    token = deadline_var.set(limit)  # a task copies the context when it is made
    try:
        return _start(work)
    finally:
        deadline_var.reset(token)


def _start(work: Awaitable[T]) -> "asyncio.Future[T]":
    if isinstance(work, Handle):
        work._awaited_here()
    if isinstance(work, Effect):
        if is_native(work):
            return cast("asyncio.Future[T]", work.__await__())  # which starts it, and gives its handle
        adopt(work)
    elif asyncio.isfuture(work):
        return cast("asyncio.Future[T]", work)
    elif asyncio.iscoroutine(work):
        return task_of(work)
    permit_context = current_permit_context()
    return asyncio.create_task(carried(work) if permit_context is None else _awaited(work, permit_context))


async def _awaited(work: Awaitable[T], permit_context: PermitContext) -> T:
    """Awaits `work` as a child of the code that waits for it."""
    return await bound(carried, work, permit_context.here())


async def bound(run: Callable[[Awaitable[T]], Awaitable[T]], work: Awaitable[T], permit_context: PermitContext) -> T:
    """Awaits `run(work)` as the task of `permit_context`."""
    permit_context.begin()
    permit_context_var.set(permit_context)
    try:
        return await run(work)
    finally:
        permit_context.over()


async def first(
    tasks: Sequence["asyncio.Future[Any]"], decisive: Callable[["asyncio.Future[Any]"], bool]
) -> "asyncio.Future[Any] | None":
    """Waits for the first task, in the order of their ends, that is decisive; None when all have ended and none was."""
    found: asyncio.Future[asyncio.Future[Any] | None] = asyncio.get_running_loop().create_future()
    left = len(tasks)

    def ended(task: "asyncio.Future[Any]") -> None:
        nonlocal left
        left -= 1
        if not found.done():
            if decisive(task):
                found.set_result(task)
            elif not left:
                found.set_result(None)

    if not left:
        return None
    for task in tasks:
        task.add_done_callback(ended)
    try:
        return await found
    finally:
        for task in tasks:
            task.remove_done_callback(ended)


async def end(
    tasks: Collection["asyncio.Future[Any]"], *, asked: bool = False, ending: "asyncio.Future[Any] | None" = None
) -> None:
    """Cancels what has not ended, unless it was `asked` before, and waits until everything has, `ending` as well.

    A cancel that comes meanwhile does not cut the cleanup short: it is raised afterwards.
    """
    left = [task for task in tasks if not task.done()]
    for task in () if asked else left:
        with contextlib.suppress(RuntimeError):  # its loop is closed or gone, and it with that
            task.cancel()
    error = sys.exception()
    if isinstance(error, GeneratorExit):
        return  # the caller's coroutine is being thrown away, which allows no wait
    if ending is not None and not ending.done():
        left.append(ending)
    cancelled = await outlast(left, asked=isinstance(error, asyncio.CancelledError)) if left else None
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: it is not to be reported as never retrieved
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled
