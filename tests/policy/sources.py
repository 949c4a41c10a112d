"""Support for the tests of caches: a source that notes its calls, and waiting for events beside them."""

import asyncio
from collections.abc import Callable
from typing import Any


class Source:
    """Gives 1, 2, 3 ... by what it was asked, and notes that; or fails, while it is told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None

    async def get(self, x: Any = None, y: Any = 0) -> int:
        self.asked.append(x if y == 0 else (x, y))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return len(self.asked)


async def passed(seconds: float) -> None:
    """The engine's clock is past that time from now."""
    await asyncio.sleep(seconds * 1.2)


async def eventually(holds: Callable[[], bool]) -> None:
    """Lets events elsewhere happen: there is nothing to wait on."""
    while not holds():
        await asyncio.sleep(0.001)
