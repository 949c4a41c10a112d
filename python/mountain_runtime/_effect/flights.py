"""Flights: runs of what a layer encloses, a task each: for all callers of a cached call, or beside another."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any, cast

from .._native import InheritedDeadline, Landing, Plan, call_effect, call_stream, deadline_var, permit_context_var
from .._tasks import scope as _scope
from .._tasks.exits import EXITS
from .relay import Relay

__all__ = ["begin"]


def begin(
    callable: Callable[..., Any],  # noqa: A002
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    plan: Plan,
    landing: Landing,
    limit: InheritedDeadline | None,
    context: Context | None,
    streams: bool,
    /,
) -> None:
    """Starts the call under `plan`, in `context` or a copy of the current one, whose deadline becomes `limit`.

    Of a stream the flight gives the items, by a relay, as the first of them is there. With a `context` it may be called
    anywhere on the loop, and starts the call in the loop's next turn.
    """
    flight = partial(_fly, callable, args, kwargs, plan, landing, streams)
    if context is None:
        _start(flight, plan.name, landing, limit, copy_context())
    else:
        asyncio.get_running_loop().call_soon(_start, flight, plan.name, landing, limit, context)


def _start(
    flight: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    landing: Landing,
    limit: InheritedDeadline | None,
    context: Context,
) -> None:
    context.run(deadline_var.set, limit)
    task = asyncio.create_task(flight(), name=name, context=context)
    landing.flies(task)
    task.add_done_callback(landing.lose)  # cancelled before its first step, it has said nothing


async def _fly(
    callable: Callable[..., Any],  # noqa: A002
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    plan: Plan,
    landing: Landing,
    streams: bool,
) -> None:
    # An eager task's first step comes before its maker knows it. No variable: an error's traceback would keep the task.
    landing.flies(cast("asyncio.Task[None]", asyncio.current_task()))
    permit_context = landing.permit_context()
    permit_context_var.set(permit_context)
    try:
        value: Any = None
        if streams:
            await Relay().run(call_stream(callable, args, kwargs, plan), landing)
        else:
            value = await call_effect(callable, args, kwargs, plan)
    except EXITS as error:
        landing.lose()  # a caller that waits on another loop begins another
        runtime: Any = _scope.current()
        if runtime is None or runtime._loop is not asyncio.get_running_loop():
            raise
        runtime._exits(error)
    except asyncio.CancelledError as error:
        if landing.asked or _cancelling():  # not by a waiter's cancel: a waiter begins another flight
            landing.lose()
            raise
        landing.fail(error)  # its own: it would do so again
    except BaseException as error:
        landing.fail(error)
    else:
        landing.succeed(value)
    finally:
        permit_context.over()


def _cancelling() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
