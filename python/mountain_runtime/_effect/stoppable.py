"""Functions on threads of a worker, which can be asked to stop: a CancelledError is raised where they stand.

1. The function's thread is known from its begin to its end, under a lock.
2. A stop within that time has the interpreter raise the error in that thread, at its next step of Python.
3. The end waits until an error that was asked for has been raised: it comes at the next turn of a loop. One that is
   raised within the end itself is the function's. To clear it instead would leave a mark in the interpreter (3.11 and
   3.12 take it back only when an error is raised): each thread would look for errors at each of its steps, and one
   under a profiler would never come to its next step.

Code that waits in the system, or computes without Python, hears of it only when it comes back.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from . import threads as _threads

if TYPE_CHECKING:
    from .._native import Handle

__all__ = ["Stoppable", "begun_here", "start"]


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Has the interpreter raise an error in that thread."""
    import ctypes  # a program without pools does not wait for it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


class Stoppable:
    """A function that is called once."""

    __slots__ = ("_asked", "_fn", "_lock", "_thread", "handle")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._asked = False
        #: How its caller waits for it.
        self.handle: Handle[Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self._asked:
                raise asyncio.CancelledError
            self._thread = threading.get_ident()
        try:
            try:
                return self._fn(*args, **kwargs)
            finally:
                self._leave()
        except asyncio.CancelledError:
            self._leave()
            raise

    def _leave(self) -> None:
        with self._lock:
            self._thread = None
        if self._asked:
            for _ in range(3):
                pass

    def stop(self) -> None:
        """Step 2. One that has not begun does not begin."""
        with self._lock:
            if not self._asked:
                self._asked = True
                if self._thread is not None:
                    _raise_in(self._thread, asyncio.CancelledError)

    @property
    def at_work(self) -> bool:
        """It is on its thread."""
        return self._thread is not None


#: Of a call on a worker: the functions that it has begun on threads.
begun_here: ContextVar[list[Stoppable] | None] = ContextVar("mountain_begun_here", default=None)


def start(name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Handle[Any]":
    """As that of `threads`; on a worker the function can be stopped."""
    begun = begun_here.get()
    if begun is None:
        return _threads.start(name, fn, *args, **kwargs)
    stoppable = Stoppable(fn)
    begun.append(stoppable)
    stoppable.handle = handle = _threads.start(name, stoppable, *args, **kwargs)
    return handle
