"""The ends of a stream that no pull sees: the ender, a task that closes the stream for a limit, and the waits for it.

1. A limit passes while the consumer does not pull. The drain of the loop's port calls `begin`.
2. The ender closes the generator, in the very context in which the stream was opened: the cleanup sees the variables as
   they were set, and a token of the generator's is one of that context. The consumer's task is not in its step.
3. The consumer's next pull waits for the ender, by `ended`, and raises what the ender gives.
"""

import asyncio
import gc
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar, cast

from .._native import Items, Run
from .._tasks.exits import EXITS
from .._tasks.outlast import outlast

__all__ = ["another", "begin", "ended", "rests", "tell"]

T = TypeVar("T")


def begin(run: Run, opener: "asyncio.Task[Any] | None") -> "asyncio.Task[BaseException | None]":
    """The ender of a run; `opener` is the task that opened the stream."""
    loop = asyncio.get_running_loop()
    context = None if opener is None else _context_of(opener)
    # Not by `create_task`: on an eager loop that would take the first step here, in the drain.
    return asyncio.Task(_end(run), loop=loop, name="end of a stream", context=context)


def _context_of(task: "asyncio.Task[Any]") -> Context | None:
    """A task's own context. CPython 3.11 gives it to the collector only."""
    get = cast("Callable[[], Context] | None", getattr(task, "get_context", None))
    if get is not None:
        return get()
    return next((each for each in gc.get_referents(task) if isinstance(each, Context)), None)


async def _end(run: Run) -> BaseException | None:
    try:
        await run._close_stream()
    except EXITS:
        raise
    except BaseException as error:
        return error
    return None


async def ended(ender: "asyncio.Task[BaseException | None]") -> BaseException | None:
    """Waits for the ender, and gives the error that it ended the stream with.

    A cancel of the waiter's is passed on, and raised afterwards.
    """
    if not ender.done() and (loop := ender.get_loop()) is not asyncio.get_running_loop():
        if not loop.is_closed():
            raise RuntimeError(
                "this stream is being closed on another event loop, whose end cannot be awaited here: await it there"
            )
        return None
    cancelled = await outlast([ender], asked=False, notice=lambda: _cancel(ender))
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled
    return ender.result()


def _cancel(ender: "asyncio.Task[BaseException | None]") -> None:
    ender.cancel()


async def rests(items: "Items[Any]", pull: int) -> asyncio.CancelledError | None:
    """Waits for the end of the pull in the task whose id is `pull`. Gives the cancel that came meanwhile."""
    loop = asyncio.get_running_loop()
    # A stream may be pulled on another loop than it was opened on, and a pull that waits does not note its loop.
    if all(id(task) != pull for task in asyncio.all_tasks(loop)):
        raise RuntimeError(
            f"stream '{items.__name__}' is being pulled on another event loop, whose end cannot be awaited here: close "
            "the stream there, or cancel the task that pulls"
        )
    rested = loop.create_future()
    items._tells(rested)
    return await outlast([rested], asked=False)


async def another(items: "Items[T]") -> T:
    """A pull of its own: asyncio takes two awaits of one object for one, and would give both of them one item."""
    return await items


def tell(waiter: "asyncio.Future[None]") -> None:
    """Tells a future of `rests` that the pull has ended."""
    if not waiter.done() and not waiter.get_loop().is_closed():
        waiter.set_result(None)
