"""Work beside the code that started it, which it never outlives: its start, its wait and its end."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar, cast

from .._native import (
    Effect,
    Handle,
    InheritedDeadline,
    PermitContext,
    adopt,
    current_deadline,
    current_permit_context,
    deadline_var,
    permit_context_var,
    start_without_task,
    start_without_tasks,
)
from .._tasks.exits import carried, task_of
from .._tasks.outlast import outlast

__all__ = ["bound", "end", "start", "start_all"]

T = TypeVar("T")


def start(work: Awaitable[T], limit: InheritedDeadline | None) -> "asyncio.Future[T]":
    """Starts `work` as a child of the current code, under `limit` and in a copy of its context.

    A native effect and a batched call need no task, only a handle. Read what became of it by `_exits.result_of` or
    `error_of`.
    """
    if limit is None:
        return _start(work)
    token = deadline_var.set(limit)  # a task copies the context when it is made
    try:
        return _start(work)
    finally:
        deadline_var.reset(token)


def start_all(effects: list[Effect[T]], started: "list[asyncio.Future[T]]") -> None:
    """Starts each as a child of the current code, and adds it to `started`: should one not start, those before it are
    there."""
    limit = current_deadline()
    token = None if limit is None else deadline_var.set(limit)
    try:
        start_without_tasks(effects, started)
        for effect in effects[len(started) :]:
            started.append(_start(effect))
    finally:
        if token is not None:
            deadline_var.reset(token)


def _start(work: Awaitable[T]) -> "asyncio.Future[T]":
    if isinstance(work, Handle):
        work._awaited_here()
    if isinstance(work, Effect):
        if (handle := start_without_task(work)) is not None:
            return cast("asyncio.Future[T]", handle)
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
