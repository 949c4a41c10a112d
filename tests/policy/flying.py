"""Support for the tests of flights: a function under way, and callers on loops of their own."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.conftest import LoopFactory

from .support import AT_ONCE, LONG, outcome


class Runs:
    """A function under way: how often it began, how it ended, and a gate."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.cleaned = 0
        self.open = threading.Event()

    async def __call__(self, x: int = 0) -> int:
        self.begun += 1
        number = self.begun
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.0005)  # the gate is for several loops, which share no event
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned += 1
        return number


async def awaited(work: Awaitable[Any]) -> Any:
    return await work


async def eventually(holds: Callable[[], bool]) -> None:
    """Lets events elsewhere happen: there is nothing to wait on."""
    end = time.monotonic() + AT_ONCE * 5
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def start(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(awaited(work))


class Elsewhere:
    """A thread with a loop of its own, on which one coroutine runs."""

    def __init__(self, new_loop: LoopFactory, work: Callable[[], Awaitable[Any]]) -> None:
        self.found: Any = None
        self.thread = threading.Thread(target=self._run, args=(new_loop, work), daemon=True)
        self.thread.start()

    def _run(self, new_loop: LoopFactory, work: Callable[[], Awaitable[Any]]) -> None:
        loop = new_loop()
        try:
            self.found = loop.run_until_complete(outcome(work()))
        finally:
            loop.close()

    def result(self) -> Any:
        self.thread.join(LONG)
        assert not self.thread.is_alive(), "it hangs"
        return self.found
