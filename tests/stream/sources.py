"""Sources for the tests of streams."""

import asyncio
from collections.abc import AsyncIterator


class Boom(Exception):
    """A failure of ours."""


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def ticks(n: int = 3) -> None:
    """Lets everything that is ready run."""
    for _ in range(n):
        await asyncio.sleep(0)


class Source:
    """Gives numbers with so many turns before each, and then an error; counts what it gave, and its ends."""

    def __init__(self, n: int | None, pauses: int, error: BaseException | None = None) -> None:
        self.n = n
        self.pauses = pauses
        self.error = error
        self.given = self.closed = 0
        self.begun = False
        self.tasks: set[object] = set()

    def __aiter__(self) -> AsyncIterator[int]:
        return self.items()

    async def items(self) -> AsyncIterator[int]:
        self.begun = True
        try:
            while self.n is None or self.given < self.n:
                self.tasks.add(asyncio.current_task())
                await ticks(self.pauses)
                self.given += 1
                yield self.given - 1
            await ticks(self.pauses)
            if self.error is not None:
                raise self.error
        finally:
            self.tasks.add(asyncio.current_task())
            await asyncio.sleep(0)  # a cleanup that one could miss
            self.closed += 1
