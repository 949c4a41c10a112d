"""The work of a runtime that stops, and what that submits: it ends before the services that it needs."""

import asyncio
from collections.abc import Callable
from typing import Any

from .._shutdown.clock import POLITE, Clock
from .._shutdown.steps import Left, Steps, left_behind
from .._tasks.cuts import STOPS
from .owner import Owner

__all__ = ["SHARE", "InFlight"]

#: The share of what is left that a step has, where something is still to be stopped after it.
SHARE = 0.5


class InFlight:
    """Accepted work goes on while the runtime drains, and may submit more; so may its cleanup and that of services.

    1. It goes on, for as long as a step lets it.
    2. Then it is cancelled, once, and its cleanup awaited.
    3. What has not ended even so is left behind, and waited for no more.
    """

    def __init__(self, owner: Owner, clock: Clock, steps: Steps) -> None:
        self._owner = owner
        self._clock = clock
        self._steps = steps
        self._asked: set[asyncio.Future[Any]] = set()
        self._left: set[asyncio.Future[Any]] = set()

    async def drain(self, until: Callable[[], float]) -> list[Left]:
        """Step 1; gives what has not ended by then."""
        if await self._ended(until):
            return []
        return [left_behind(work) for work in self._work()]

    def cancel(self) -> None:
        """Step 2."""
        for work in self._work():
            if work not in self._asked:
                self._asked.add(work)
                work.cancel(STOPS)

    async def end(self, part: float) -> list[Left]:
        """All three steps, in the given part of the time that is left; gives what is left behind."""
        polite, last = self._clock.part(part * POLITE), self._clock.part(part)
        if not await self._ended(polite):
            self.cancel()
        if await self._ended(last):
            return []
        work = self._work()
        self._left.update(work)
        return [left_behind(each) for each in work]

    async def end_late(self, name: str, part: float) -> None:
        """`end` as a step of the report, if the step `name` has submitted work."""
        if self._work():
            await self._steps.run(f"{name}: late work", "abandoned", lambda: self.end(part))

    def _work(self) -> "list[asyncio.Future[Any]]":
        return [work for work in self._owner._pending() if work not in self._left]

    async def _ended(self, until: Callable[[], float]) -> bool:
        while work := self._work():
            if not await self._clock.wait(work, until):
                return False
        return True
