"""The time that is left to a shutdown: when each part of it ends, and waiting until then."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from .. import _native
from ..policy._numbers import seconds
from .settings import KEPT, Shutdown

__all__ = ["POLITE", "Clock"]

#: The part of its time after which a service or a deferred call is cancelled.
POLITE = 0.8
#: Seconds that an abort leaves to all that is still to end, so that a short cleanup can.
_ABORT = 0.1
#: Seconds; a remaining time below this counts as over, since a timer may fire that much early.
_MOMENT = 1e-6


def _now() -> float:
    """Seconds on the engine's clock, which tests can move."""
    return _native.now() / 1e9


class Clock:
    """When each part of a shutdown ends, in seconds of the engine's clock. It can be hurried while a step waits."""

    def __init__(self, settings: Shutdown, drain: bool) -> None:
        deadline = seconds(settings.deadline, "Shutdown", "deadline")
        self.began = _now()
        self.end = self.began + deadline
        #: Whether work in flight may go on for a while; otherwise it is cancelled at once.
        self.drains = drain
        self.announced = self.began + (seconds(settings.propagation, "Shutdown", "propagation") if drain else 0.0)
        longest = self.announced + (seconds(settings.drain, "Shutdown", "drain") if drain else 0.0)
        kept = self.end - deadline * KEPT if deadline < 1e9 else longest
        self.drained = min(longest, kept)
        self.announced = min(self.announced, kept)
        self._changed: set[asyncio.Future[None]] = set()

    def stop_draining(self) -> None:
        """Ends the drain now: work in flight is to be cancelled."""
        self.announced = self.drained = self.began
        self._wake()

    def abort(self) -> None:
        """Ends everything within a moment."""
        self.end = min(self.end, _now() + _ABORT)
        self.stop_draining()

    def now(self) -> float:
        """Seconds, as `end` counts them."""
        return _now()

    def part(self, of: float) -> Callable[[], float]:
        """The end of a step that may take the part `of` what is left now; it moves when the shutdown is hurried."""
        until = _now() + max(self.left(), 0.0) * of
        return lambda: min(until, self.end)

    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.end - _now()

    def _wake(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)

    async def wait(self, futures: Collection["asyncio.Future[Any]"], until: Callable[[], float]) -> bool:
        """Waits for all futures until a time that may move meanwhile; gives whether all have ended."""
        left = {future for future in futures if not future.done()}
        while left:
            seconds_left = until() - _now()
            if seconds_left < _MOMENT:
                return False
            done = asyncio.get_running_loop().create_future()
            await self._wait_once(left, done, min(seconds_left, 1e6))
            left = {future for future in left if not future.done()}
        return True

    async def sleep(self, until: Callable[[], float]) -> None:
        """Sleeps until a time that may move meanwhile."""
        await self.wait([asyncio.get_running_loop().create_future()], until)

    async def _wait_once(
        self, futures: Collection["asyncio.Future[Any]"], done: "asyncio.Future[None]", timeout: float
    ) -> None:
        """Returns when all have ended, `timeout` has passed, or the times have moved."""
        count = len(futures)

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        def ended(_: object) -> None:
            nonlocal count
            count -= 1
            if not count:
                wake()

        for future in futures:
            future.add_done_callback(ended)
        timer = asyncio.get_running_loop().call_later(timeout, wake)
        self._changed.add(done)
        try:
            await done
        finally:
            timer.cancel()
            self._changed.discard(done)
            for future in futures:
                future.remove_done_callback(ended)
