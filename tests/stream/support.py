"""Generators that the tests of streams share: scripts of items and waits, with a log of what they did."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any


class Boom(Exception):
    """A failure of ours."""


class Stop(BaseException):
    """An exception that no policy may touch."""


class Log(list[Any]):
    """The deeds of a generator: how often it was opened and closed, and the errors that reached it."""

    @property
    def opened(self) -> int:
        return self.count("opened")

    @property
    def closed(self) -> int:
        return self.count("closed")


async def script(log: Log, *steps: Any, cleanup: float | None = 0) -> AsyncGenerator[Any, None]:
    """Each step in its turn: a number is slept, an exception raised, anything else is an item."""
    log.append("opened")
    try:
        for step in steps:
            if isinstance(step, (int, float)):
                await asyncio.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                yield step
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    finally:
        if cleanup is not None:
            await asyncio.sleep(cleanup)
        log.append("closed")


async def attempts(log: Log, *scripts: tuple[Any, ...], cleanup: float | None = 0) -> AsyncIterator[Any]:
    """Another script for each time that it is opened, the last one again and again."""
    async with aclosing(script(log, *scripts[min(log.opened, len(scripts) - 1)], cleanup=cleanup)) as items:
        async for item in items:
            yield item


async def outcome(work: Awaitable[Any]) -> Any:
    """The value, or the error."""
    try:
        return await work
    except BaseException as error:
        return error


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def rest(n: int = 5) -> None:
    """Lets everything that is ready run."""
    for _ in range(n):
        await asyncio.sleep(0)


def collect() -> None:
    for _ in range(3):
        gc.collect()
