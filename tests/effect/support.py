"""Small leaves and tools that the tests of effects share."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

EAGER = sys.version_info >= (3, 12)
#: A time that never comes within a test.
LONG = 30.0
#: A limit that is to pass: long enough that everything else has happened, short enough to wait for.
SOON = 0.02


class Boom(Exception):
    """A failure of ours."""


class Stop(BaseException):
    """An exception that no policy may touch."""


async def value(v: Any = 1) -> Any:
    return v


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def ticks(n: int = 3) -> None:
    """Lets everything that is ready run."""
    for _ in range(n):
        await asyncio.sleep(0)


def cancelling() -> int:
    """The number of cancels of the current task that were not taken back."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def in_task(body: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.create_task(body)


def collect() -> None:
    for _ in range(3):
        gc.collect()


@asynccontextmanager
async def heartbeat(every: float = 0.001) -> AsyncIterator[list[float]]:
    """Measures the gaps between beats of the loop: how long it does nothing else."""
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(every)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(beat())
    try:
        yield gaps
    finally:
        task.cancel()
        await asyncio.wait([task])
