"""Hedged calls whose attempts take as long as a test says, and what became of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mountain_runtime import Hedge, effect
from tests.effect.support import ticks

__all__ = ["LATER", "Attempts", "ends"]

#: After how long the attempts of these tests begin.
LATER = 0.1


class Attempts:
    """Attempt number n takes so many seconds and gives n; the first `fails` of them fail.

    Each that is cancelled cleans up for some turns of the loop.
    """

    def __init__(self, *takes: float, fails: int = 0) -> None:
        self.takes = takes
        self.fails = fails
        self.events: list[str] = []
        self.tasks: list[Any] = []

    async def run(self) -> int:
        number = len(self.tasks)
        self.tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(self.takes[number])
            if number < self.fails:
                raise ValueError(number)
        except asyncio.CancelledError:
            await ticks(5)
            self.events.append(f"{number} cleaned up")
            raise
        return number

    def under(self, *policies: Any) -> Callable[[], Awaitable[int]]:
        made: Callable[[], Awaitable[int]] = effect(*policies)(self.run)
        return made

    def hedged(
        self, *outside: Any, inside: tuple[Any, ...] = (), hedge: Hedge | None = None
    ) -> Callable[[], Awaitable[int]]:
        return self.under(*outside, Hedge(LATER, budget=None) if hedge is None else hedge, *inside)

    async def ends(self, work: Awaitable[Any]) -> BaseException:
        error = await ends(work)
        self.events.append(type(error).__name__)
        return error


async def ends(work: Awaitable[Any]) -> BaseException:
    """The error with which the work ends."""
    try:
        await work
    except BaseException as error:
        return error
    raise AssertionError
