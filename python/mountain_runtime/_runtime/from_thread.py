"""A call from a thread that runs no loop: the effect runs on the runtime's loop, and the thread waits."""

import asyncio
import concurrent.futures
import functools
from contextvars import copy_context
from typing import Any, TypeVar

from .._effect.misused import not_an_effect
from .._native import Effect
from ..errors import ShuttingDown
from .owner import Owner

__all__ = ["call"]

T = TypeVar("T")


def call(runtime: Owner, effect: Effect[T]) -> T:
    """Gives the effect's result, or raises its error. KeyboardInterrupt in the thread cancels it."""
    if not isinstance(effect, Effect):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise not_an_effect("from_thread()", effect)
    if asyncio._get_running_loop() is not None:
        effect.close()
        raise RuntimeError(
            "from_thread() would block the event loop of this thread: write `await effect`, or submit(effect)"
        )
    loop = runtime._loop
    if loop is None or loop.is_closed():
        runtime._refuse(effect, "from_thread")
    result: concurrent.futures.Future[T] = concurrent.futures.Future()
    handles: list[asyncio.Future[T]] = []

    def begin() -> None:
        if result.done():
            return
        try:
            handle: Any = runtime.submit(effect)
            handle._awaited_here()  # the blocking function of this thread awaits it, if there is one
        except BaseException as error:
            effect.close()
            result.set_exception(error)
            return
        handles.append(handle)
        handle.add_done_callback(functools.partial(_hand_over, result))

    def cancel() -> None:
        for handle in handles:
            handle.cancel()
        if not handles:
            result.cancel()
            effect.close()

    copy_context().run(loop.call_soon_threadsafe, begin)
    try:
        # Wakes every second, since a loop that was closed never answers.
        while not concurrent.futures.wait([result], timeout=1.0).done:
            if loop.is_closed():
                raise ShuttingDown("the runtime's loop was closed before the effect ended", effect=effect.__name__)
        error = result.exception()
        if error is None:
            return result.result()
        try:
            raise error  # not by `result()`, which takes an error that is false for none
        finally:
            del error
    except BaseException:
        if not result.done() and not loop.is_closed():
            loop.call_soon_threadsafe(cancel)
            concurrent.futures.wait([result], timeout=0.5)  # its cleanup, if that is short
        raise


def _hand_over(result: "concurrent.futures.Future[T]", done: "asyncio.Future[T]") -> None:
    if not result.set_running_or_notify_cancel():
        return
    if done.cancelled():
        result.set_exception(concurrent.futures.CancelledError())
    elif (error := done.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(done.result())
