"""Support for the tests of policies: failures, leaves that count their calls, a stopwatch."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

#: A time that never comes within a test.
LONG = 30.0
#: A limit that is to pass.
SOON = 0.02
#: Seconds that an immediate event may take on a slow machine.
AT_ONCE = 1.0


class Boom(Exception):
    """A failure of ours."""


class Crash(Boom):
    """A failure that is a Boom too."""


class Stop(BaseException):
    """An exception that no policy may touch."""


class Calls:
    """A leaf that raises the given errors one after another, the last again and again, or then gives its count."""

    def __init__(self, *errors: BaseException | type[BaseException], then_value: bool = False) -> None:
        self.errors = errors
        self.then_value = then_value
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        if self.count > len(self.errors) and self.then_value:
            return self.count
        raise self.errors[min(self.count, len(self.errors)) - 1]


class Watch:
    """How long something took."""

    def __enter__(self) -> Self:
        self.begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.took = self.so_far()

    def so_far(self) -> float:
        return time.monotonic() - self.begun


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def suspends(value: Any = 1) -> Any:
    await asyncio.sleep(0)
    return value


async def outcome(work: Awaitable[Any]) -> Any:
    """The value, or the error."""
    try:
        return await work
    except Exception as error:
        return error


Build = Callable[[], object]
