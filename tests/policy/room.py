"""Support for the tests of limits: a room that notes who came in and how many were in at a time, and its crowd."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from mountain_runtime import ConcurrencyLimit, Priority, priority

from .support import AT_ONCE


class Room:
    """The work of a limited call: it comes in, and stays for some ticks of the loop, or until the doors are opened."""

    def __init__(self) -> None:
        self.came: list[Any] = []
        self.inside = 0
        self.most = 0
        self.doors = asyncio.Event()

    async def passes(self, who: Any = None, ticks: int = 1) -> Any:
        self._comes(who)
        try:
            for _ in range(ticks):
                await asyncio.sleep(0)
            return who
        finally:
            self.inside -= 1

    async def stays(self, who: Any = None) -> Any:
        self._comes(who)
        try:
            await self.doors.wait()
            return who
        finally:
            self.inside -= 1

    def _comes(self, who: Any) -> None:
        self.came.append(who)
        self.inside += 1
        self.most = max(self.most, self.inside)


@asynccontextmanager
async def taken(limit: ConcurrencyLimit, n: int = 1) -> AsyncIterator[None]:
    """Others hold all `n` places of it until the block ends."""
    room = Room()
    holders = [asyncio.create_task(limit.call(room.stays)) for _ in range(n)]
    await tick()
    assert counts(limit)[0] == n
    try:
        yield
    finally:
        room.doors.set()
        await asyncio.gather(*holders)


def counts(limit: ConcurrencyLimit) -> tuple[int, int]:
    """How many are at work, and how many wait."""
    now = limit.statistics()
    return now.in_flight, sum(now.waiting.values())


def task_at(p: Priority, work: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
    """A task whose calls are of that priority."""
    with priority(p):
        return asyncio.create_task(work())


async def tick(n: int = 3) -> None:
    """Lets everything that is ready run."""
    for _ in range(n):
        await asyncio.sleep(0)


async def until(what: Callable[[], bool], seconds: float = 5 * AT_ONCE) -> None:
    """Waits for what another thread brings about."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.001)  # there is nothing to wait on


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancels a task, and sees it end so."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
