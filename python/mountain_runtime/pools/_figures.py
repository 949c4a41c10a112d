"""Figures of a pool, for metrics and the live page: counted by its engine, and told to the native side now and then.

1. What ends is counted as plain numbers, which costs a call next to nothing.
2. While there is work, the numbers are told a few times a second. A pool at rest has no timer.
3. Workers send what their effects have counted since they last did, once a second and before they end: it is added to
   what there is, so that nothing goes down with a worker.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from .. import _native
from ..errors import WorkerLost

__all__ = ["Figures"]

#: Seconds between two tellings.
_EVERY = 0.25

Counts = tuple[int, int, int, int, int, int, int]


class Figures:
    """The figures of one pool, on its engine's thread."""

    __slots__ = (
        "_loop",
        "_lost",
        "_native",
        "_now",
        "_restarted",
        "_started",
        "_told",
        "cancelled",
        "failed",
        "lost",
        "refused",
        "succeeded",
        "ticks",
    )

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], tuple[int, int, int]],
        lost: Callable[[], int],
    ) -> None:
        self._native = _native.PoolFigures(name)
        self._loop = loop
        #: Workers, calls that they have, and calls that wait; workers that were lost.
        self._now, self._lost = now, lost
        #: Workers, and those in place of another, ever.
        self._started = self._restarted = 0
        #: Calls by their ends. The lost ones are those of workers that were lost.
        self.succeeded = self.failed = self.cancelled = self.lost = self.refused = 0
        self._told: Counts = (0, 0, 0, 0, 0, 0, 0)
        #: A telling is due.
        self.ticks = False

    def starts(self, there: int) -> None:
        """A worker is started beside so many that take calls, or are about to."""
        if self._started - there > self._restarted:
            self._restarted += 1
        self._started += 1
        self.wake()

    def fails(self, error: BaseException, *, asked: bool) -> None:
        """A call has ended with an error."""
        if isinstance(error, WorkerLost):
            self.lost += 1
        elif asked:
            self.cancelled += 1
        else:
            self.failed += 1

    def wake(self) -> None:
        """Step 2."""
        if not self.ticks:
            self.ticks = True
            self._loop.call_later(_EVERY, self._tick)

    def _tick(self) -> None:
        _, running, waiting = self._now()
        if self.tell() or running or waiting:
            self._loop.call_later(_EVERY, self._tick)
        else:
            self.ticks = False

    def tell(self) -> bool:
        """Tells how it stands. Gives whether anything has been counted."""
        self._native.now(*self._now())
        counts: Counts = (
            self._lost(),
            self._restarted,
            self.succeeded,
            self.failed,
            self.cancelled,
            self.lost,
            self.refused,
        )
        before, self._told = self._told, counts
        if counts == before:
            return False
        lost, restarted, *calls = (now - then for now, then in zip(counts, before, strict=True))
        self._native.add(lost, restarted, calls)
        return True

    def add(self, gained: list[Any]) -> None:
        """Step 3."""
        self._native.effects(gained)

    def close(self) -> None:
        """Tells the last; the workers have ended."""
        self.tell()
        self._native.now(0, 0, 0)
