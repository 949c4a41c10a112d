"""`deadline`: a bound on the time of a block of code, and of everything that it awaits or starts."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Token
from types import TracebackType

from .._native import InheritedDeadline, OwnCancel, deadline_var
from ..errors import TimedOut
from ..policy._numbers import Seconds, written
from ..policy._numbers import seconds as as_seconds
from .misused import AsyncBlockOnly

__all__ = ["deadline"]

#: Seconds, some 30 years, beyond which there is no deadline: event loops differ in how they treat such times.
_ENDLESS = 1e9


def deadline(seconds: Seconds) -> AbstractAsyncContextManager[None]:
    """`async with deadline(5):` ends its block with `errors.TimedOut` after so many seconds.

    Unlike `asyncio.timeout`, effects and tasks within it know when it ends: none waits for what would come too late.
    """
    # The function in whose code it is written, which may be another than the one that the task began with.
    return _Deadline(as_seconds(seconds, "deadline", "seconds"), sys._getframe(1).f_code.co_qualname)


class _Deadline(AsyncBlockOnly, AbstractAsyncContextManager[None]):
    _block = "deadline(seconds)"

    def __init__(self, seconds: float, function: str) -> None:
        self._seconds = seconds
        self._function = function
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._cancel: OwnCancel | None = None
        self._token: Token[InheritedDeadline | None] | None = None

    async def __aenter__(self) -> None:
        if self._cancel is not None:
            raise RuntimeError("a deadline is entered once: make another")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("deadline() needs a task to end: use it inside a coroutine that asyncio runs")
        self._cancel = cancel = OwnCancel(task)
        if self._seconds > _ENDLESS:
            return
        outer = deadline_var.get(None)
        if outer is None or outer.remaining() > self._seconds:
            self._token = deadline_var.set(InheritedDeadline(self._seconds, self._function))
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, cancel.send) if self._seconds else loop.call_soon(cancel.send)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._token is not None:
            with suppress(ValueError):  # a collected coroutine is closed in another context
                deadline_var.reset(self._token)
        assert self._cancel is not None
        if self._cancel.settle(error):
            what = f"deadline({written(self._seconds)})"
            raise TimedOut(
                f"{what} ran out in '{self._function}'. What it awaited may have run: repeat only what may run twice, "
                "or give it more time",
                effect=self._function,
                policy=what,
            ) from error
