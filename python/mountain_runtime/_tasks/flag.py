"""A flag that is set once, and wakes waiters on any loop."""

import asyncio
from typing import Any

__all__ = ["Flag"]


class Flag:
    """Like asyncio.Event, without being bound to one loop."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def set(self) -> None:
        """Sets it and wakes all waiters."""
        self._set = True
        for future in list(self._waiting):
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)

    def add(self, future: "asyncio.Future[None]") -> None:
        """Resolves `future` when the flag is set."""
        self._waiting.add(future)
        if self._set:
            _resolve(future)

    def discard(self, future: "asyncio.Future[None]") -> None:
        """`future` waits no longer."""
        self._waiting.discard(future)

    async def wait(self) -> None:
        """Returns when it is set."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.add(future)
        try:
            await future
        finally:
            self.discard(future)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
