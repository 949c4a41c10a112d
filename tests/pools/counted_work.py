"""Functions of workers whose figures are looked at."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mountain_runtime import On, Retry, Timeout, blocking, constant, effect, pools

counted = pools.Processes(1, max_waiting=3, name="counted")
renewed = pools.Processes(1, max_calls=2, name="renewed")
RETRY = Retry(on=ConnectionError, attempts=2, backoff=constant(0.001))


@effect(On(counted), RETRY, name="counted there")
async def tries(path: str, error: str = "") -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if error == "value":
        raise ValueError(error)
    if Path(path).read_text() == "x":
        raise ConnectionError("not yet")
    return os.getpid()


@effect(On(counted), Timeout(0.05), name="late there")
async def late() -> None:
    await asyncio.sleep(60)


@blocking(On(counted), name="held")
def held(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


@asynccontextmanager
async def holding(path: Path, n: int) -> AsyncIterator[list[asyncio.Future[None]]]:
    """So many calls are held within the block, and are let go at its end, then to succeed."""
    calls = [asyncio.ensure_future(held(str(path))) for _ in range(n)]
    try:
        yield calls
    finally:
        path.touch()
        # Where the block fails, its error is the one to see.
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [end for end in ends if end is not None] == []


@blocking(On(counted), name="killed")
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@effect(On(renewed), name="renewed there")
async def pid() -> int:
    return os.getpid()
