"""A storm of streams: random items, waits, failures, breaks and cancels, under limits that pass at any moment."""

import asyncio
import gc
import random
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mountain_runtime import ConcurrencyLimit, Idle, Retry, Timeout, constant, stream
from mountain_runtime.errors import Rejected, TimedOut


class Storm:
    """So many consumers, each with random numbers of its own."""

    def __init__(self) -> None:
        self.one = ConcurrencyLimit(5)
        self.opened = self.closed = 0
        limits = (Timeout(0.05), Retry(on=ValueError, attempts=3, backoff=constant(0.001)), self.one, Idle(0.03))
        self.source = stream(*limits)(self.items)

    async def items(self, chance: random.Random) -> AsyncIterator[int]:
        self.opened += 1
        try:
            for n in range(chance.randrange(6)):
                turn = chance.random()
                if turn < 0.4:
                    await asyncio.sleep(chance.random() * 0.04)
                elif turn < 0.5:
                    raise ValueError
                yield n
        finally:
            self.closed += 1
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.01)

    async def consumer(self, seed: int) -> None:
        chance = random.Random(seed)
        try:
            async with self.source(chance) as items:
                async for _ in items:
                    if chance.random() < 0.3:
                        await asyncio.sleep(chance.random() * 0.06)
                    if chance.random() < 0.2:
                        break
        except (ValueError, TimedOut, Rejected):
            pass


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_left_open(seed: int) -> None:
    storm, chance, tasks = Storm(), random.Random(seed), list[asyncio.Task[None]]()
    for number in range(800):
        tasks.append(task := asyncio.create_task(storm.consumer(seed * 1000 + number)))
        if chance.random() < 0.3:
            asyncio.get_running_loop().call_later(chance.random() * 0.5, task.cancel)
        if number % 20 == 0:
            await asyncio.sleep(0.01)  # real: limits pass at any moment
        if number % 300 == 0:
            gc.collect()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ends} == {type(None), asyncio.CancelledError}
    assert storm.opened == storm.closed > 0
    assert storm.one.statistics().in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_hundred_thousand_are_open_at_once() -> None:
    """Each waits between two pulls under policies; memory is bounded coarsely, at twice what was measured."""
    limit = ConcurrencyLimit(100_000)

    @stream(Timeout(300), limit, Idle(300))
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    gc.collect()
    before = memory()
    opened = [aiter(numbers()) for _ in range(100_000)]
    for items in opened:
        assert await anext(items) == 1
    assert limit.statistics().in_flight == 100_000
    assert (memory() - before) / 100_000 < 8_000
    for items in opened:
        assert [item async for item in items] == [2]
    assert limit.statistics().in_flight == 0


def memory() -> int:
    """The bytes that the process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
