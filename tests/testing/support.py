"""Support for the tests of virtual time."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Self

from mountain_runtime.testing import VirtualClock

#: Seconds that a jump, such as an hour of virtual time (50 ms), may really take on a slow machine.
NO_TIME = 10.0


class Real:
    """How long something really took."""

    def __enter__(self) -> Self:
        self.begun = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.took = time.monotonic() - self.begun


class Log(list[tuple[float, Any]]):
    """The events, with their virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock

    def add(self, what: Any) -> None:
        self.append((self.clock.time(), what))

    async def after(self, what: Any, work: Awaitable[object]) -> None:
        await work
        self.add(what)

    def start(self, what: Any, work: Awaitable[object]) -> "asyncio.Task[None]":
        """Adds it when the work has ended."""
        return asyncio.create_task(self.after(what, work))


class Failing:
    """Fails so often, then succeeds."""

    def __init__(self, failures: float) -> None:
        self.left = failures
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise ConnectionError("down")
        return "up"


class Asked:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, value: int = 1) -> int:
        self.calls += 1
        await asyncio.sleep(0)
        return value
