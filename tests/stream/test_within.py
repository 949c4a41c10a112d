"""A stream that is closed by its own generator, which would wait for itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mountain_runtime import Hedge, Timeout, stream
from mountain_runtime.testing import VirtualClock

from .support import Log, outcome


class Self:
    """A generator that closes its own items at `place`."""

    def __init__(self, place: str, *, waits: bool) -> None:
        self.place, self.waits = place, waits
        self.items: Any = None
        self.log = Log()

    async def close(self, place: str) -> None:
        if place == self.place:
            if self.waits:
                await asyncio.sleep(0)
            self.log.append(str(await outcome(self.items.aclose())))

    async def run(self) -> AsyncIterator[str]:
        try:
            yield "a"
            await self.close("body")
            yield "b"
        finally:
            await self.close("cleanup")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("place", ["body", "cleanup"])
@pytest.mark.parametrize("pause", [0, 2])
async def test_a_close_from_within_is_refused(virtual_clock: VirtualClock, place: str, waits: bool, pause: int) -> None:
    """In a pull, in the cleanup, and in the task that closes the stream as its time is up (the pause of 2 s)."""
    own = Self(place, waits=waits)
    async with asyncio.timeout(60), stream(Timeout(1))(Self.run)(own) as items:
        own.items = items
        assert await anext(items) == "a"
        if place == "body":
            assert await anext(items) == "b"
        await asyncio.sleep(pause)
    assert own.log == ["stream 'Self.run' cannot be closed within its own step, which it would wait for"]


async def test_a_pull_that_was_cancelled_in_another_task_is_not_taken_for_the_current_one() -> None:
    """The task that pulled before is done: the generator is at work in the current one."""
    own = Self("body", waits=False)

    async def survives(self: Self) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            yield "survived"
        async for item in self.run():
            yield item

    async with stream(survives)(own) as items:
        own.items = items
        pull = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        pull.cancel()
        assert await pull == "survived"
        assert [await anext(items), await anext(items)] == ["a", "b"]
    assert own.log == ["stream 'survives' cannot be closed within its own step, which it would wait for"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("place", ["race", "body", "cleanup"])
async def test_a_close_from_within_an_attempt_is_refused(virtual_clock: VirtualClock, place: str, waits: bool) -> None:
    """The source runs in a task of its own, before the first item and after it."""
    own, begun = Self(place, waits=waits), 0

    async def run() -> AsyncIterator[str]:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.sleep(100)
        await own.close("race")
        async for item in own.run():
            yield item
        await own.close("cleanup")

    items = own.items = aiter(stream(Hedge(1), name="own")(run)())
    task = asyncio.create_task(outcome(_all(items)))
    await asyncio.sleep(3)
    assert task.done(), "it does not wait for itself"
    assert task.result() == ["a", "b"]
    assert set(own.log) == {"stream 'own' cannot be closed within its own step, which it would wait for"}


async def _all(items: AsyncIterator[str]) -> list[str]:
    return [item async for item in items]
