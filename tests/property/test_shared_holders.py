"""Holders of a limit that share flights, batches and submitted work which need it, with cancels and deadlines: all of
them end, none is refused where a holder can go on, and no count of theirs is left over."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Runtime, Timeout, batch, effect, gather
from mountain_runtime.errors import Reentered, TimedOut

# Children that are cancelled before their first step say that they were never awaited.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KEYS, CALLERS, DEPTH = 3, 8, 3


class Graph:
    """Code that holds a place, shares work, and calls on, down to a depth."""

    def __init__(self, dice: random.Random, runtime: Runtime, n: int, *, size: int = 3) -> None:
        self.dice, self.runtime, self.limit = dice, runtime, ConcurrencyLimit(n)
        self.refused = 0
        self.shared = effect(Cache(ttl=0.001))(self.step)
        self.shared_inside = effect(Cache(ttl=0.001), self.limit)(self.step)
        self.many = batch(size)(self.listed)

    async def step(self, depth: int, key: int) -> Any:
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)
        return await self.call(depth - 1) if depth else key

    async def listed(self, depths: list[int]) -> list[Any]:
        return [await self.step(depth, 0) for depth in depths]

    async def in_slot(self, depth: int) -> Any:
        async with self.limit.slot():
            return await self.step(depth, 0)

    async def call(self, depth: int) -> Any:
        key, short = self.dice.randrange(KEYS), Timeout(self.dice.choice([0.0002, 0.002]))
        ways: list[Callable[[], Any]] = [
            lambda: self.shared(depth, key),
            lambda: self.shared(depth, key).under(short),
            lambda: self.shared_inside(depth, key),
            lambda: self.many(depth),
            lambda: self.limit.call(self.step, depth, key),
            lambda: self.in_slot(depth),
            lambda: self.runtime.submit(effect(self.step)(depth, key)),
            lambda: gather([self.shared(depth, key), self.many(depth)]),
        ]
        return await self.dice.choice(ways)()

    async def caller(self) -> None:
        try:
            await self.call(DEPTH)
        except TimedOut:
            pass
        except Reentered:
            self.refused += 1

    async def storm(self) -> None:
        tasks = [asyncio.create_task(self.caller()) for _ in range(CALLERS)]
        for task in self.dice.sample(tasks, 3):
            for _ in range(self.dice.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in done), done

    async def nothing_is_left(self, n: int) -> None:
        """As in the beginning it takes all holders to wait: the last one is refused, and no other."""
        while self.limit.statistics().in_flight:
            await asyncio.sleep(0.001)  # submitted work goes on to its own end
        go = asyncio.Event()

        @effect(Cache(ttl=1), self.limit)
        async def needed() -> None: ...

        async def holds(waits: bool) -> None:
            async with self.limit.slot():
                if waits:
                    await go.wait()
                await needed()

        tasks = [asyncio.create_task(holds(at + 1 == n)) for at in range(n)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        go.set()
        ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert [type(each) for each in ends] == [Reentered] * n


@pytest.mark.parametrize("seed", range(60))
async def test_a_graph_with_few_places_comes_to_an_end(seed: int) -> None:
    dice = random.Random(seed)
    n = dice.randint(1, 4)
    async with Runtime() as runtime:
        graph = Graph(dice, runtime, n)
        await graph.storm()
        await graph.nothing_is_left(n)


@pytest.mark.parametrize("seed", range(60))
async def test_none_is_refused_where_a_holder_can_go_on(seed: int) -> None:
    """One holder does not wait, and no flight or batch can come to wait for itself: the depth is a part of its key."""
    dice = random.Random(seed)
    n = dice.randint(1, 3)
    async with Runtime() as runtime:
        graph = Graph(dice, runtime, n, size=1)
        go = asyncio.Event()

        async def goes_on() -> None:
            async with graph.limit.slot():
                await go.wait()

        other = asyncio.create_task(goes_on())
        await asyncio.sleep(0)
        storm = asyncio.create_task(graph.storm())
        await asyncio.sleep(0.005)  # the deadlines within pass
        assert graph.refused == 0
        go.set()
        await other
        await storm
        await graph.nothing_is_left(n)
