"""amap: bounded, lazy, and never with anything left in flight."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from mountain_runtime import Timeout, amap, effect
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import ConfigError

from .support import SOON, Boom, Stop, forever, ticks, value


class Source:
    """Counts what is pulled from it, and notes its end."""

    def __init__(self, n: int | None = None) -> None:
        self.pulled = 0
        self.closed = False
        self.n = n

    def __iter__(self) -> Iterator[int]:
        try:
            for i in itertools.count() if self.n is None else range(self.n):
                self.pulled += 1
                yield i
        finally:
            self.closed = True

    async def __aiter__(self) -> AsyncIterator[int]:  # type: ignore[misc]
        try:
            for i in itertools.count() if self.n is None else range(self.n):
                await asyncio.sleep(0)
                self.pulled += 1
                yield i
        finally:
            self.closed = True


class Worker:
    """A function whose calls count themselves."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = self.ended = 0

    async def __call__(self, n: int) -> int:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await ticks(random.Random(n).randrange(1, 5))
            return n * n
        finally:
            self.now -= 1
            self.ended += 1


async def test_items_with_their_results() -> None:
    work = Worker()
    async with amap(effect(work), range(200), limit=7) as results:
        seen = [pair async for pair in results]
    assert sorted(seen) == [(n, n * n) for n in range(200)]
    assert work.most == 7


async def test_in_order() -> None:
    work = Worker()
    async with amap(effect(work), range(100), limit=9, ordered=True) as results:
        assert [pair async for pair in results] == [(n, n * n) for n in range(100)]
    assert work.most <= 9


async def test_any_function_and_any_source() -> None:
    async with amap(value, iter([1, 2]), limit=2) as results:
        assert sorted([pair async for pair in results]) == [(1, 1), (2, 2)]
    async with amap(noop, (n for n in range(50)), limit=10) as results:
        assert sorted([pair async for pair in results]) == [(n, n) for n in range(50)]
    source = Source(30)
    async with amap(Worker(), source.__aiter__(), limit=4) as results:
        assert sorted([n async for n, _ in results]) == list(range(30))
    assert source.closed
    async with amap(value, [], limit=4) as results:
        assert [pair async for pair in results] == []


async def test_an_endless_source_is_pulled_as_far_as_the_bound() -> None:
    """Q1"""
    source = Source()
    work = Worker()
    async with amap(work, iter(source), limit=100) as results:
        await ticks(20)
        assert source.pulled <= 101
        taken = [await anext(results) for _ in range(5)]
        await ticks(20)
        assert source.pulled <= 106
    assert len(taken) == 5
    assert work.begun == work.ended
    pulled = source.pulled
    await ticks(20)
    assert source.pulled == pulled


async def test_results_that_nobody_takes_count_within_the_bound() -> None:
    source = Source()
    async with amap(value, iter(source), limit=10) as results:
        await anext(results)
        await ticks(100)
        assert source.pulled <= 12


async def test_leaving_early_ends_and_awaits_what_is_in_flight() -> None:
    log: list[int] = []

    @effect(Timeout(30))
    async def waits(n: int) -> int:
        if n == 0:
            return n
        try:
            await forever()
        finally:
            await asyncio.sleep(0.005)  # a cleanup that one could miss
            log.append(n)
        return n

    async with amap(waits, itertools.count(), limit=5) as results:
        async for _ in results:
            await ticks()
            break
    assert len(log) >= 4
    assert len(log) == len(set(log))


async def test_an_error_cancels_and_awaits_the_others() -> None:
    log: list[str] = []

    async def work(n: int) -> int:
        if n == 3:
            await ticks()
            raise Boom
        try:
            await forever()
        finally:
            await asyncio.sleep(0.005)  # a cleanup that one could miss
            log.append("cleaned")
        return n

    with pytest.raises(Boom):
        async with amap(work, range(10), limit=4) as results:
            async for _ in results:
                pass
    assert log == ["cleaned"] * 3


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stage_fails_while_its_producer_waits_for_room(ordered: bool) -> None:
    """Q4: everything is cancelled and awaited before the error shows."""
    log: list[str] = []

    async def producer() -> AsyncIterator[int]:
        try:
            for i in itertools.count():
                yield i
        finally:
            await asyncio.sleep(0)
            log.append("producer closed")

    async def stage(n: int) -> int:
        try:
            if n == 2:
                await asyncio.sleep(0.005)  # until the producer waits
                raise Boom
            await forever()
        finally:
            log.append("stage ended")
        return n

    with pytest.raises(Boom):
        async with amap(stage, producer(), limit=3, ordered=ordered) as results:
            async for _ in results:
                pass
    assert sorted(log) == ["producer closed"] + ["stage ended"] * 3


async def test_an_error_of_the_source() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise Boom

    def sync_source() -> Iterator[int]:
        yield 1
        raise Boom

    for each in (source(), sync_source()):
        work = Worker()
        with pytest.raises(Boom):
            async with amap(work, each, limit=2) as results:
                async for _ in results:
                    pass
        assert work.begun == work.ended


async def test_an_error_of_the_body_ends_what_is_in_flight() -> None:
    log: list[str] = []

    async def stage(n: int) -> int:
        try:
            if n:
                await forever()
        finally:
            log.append("ended")
        return n

    with pytest.raises(Stop):
        async with amap(stage, range(10), limit=3) as results:
            async for _ in results:
                await ticks()
                raise Stop
    assert len(log) in (3, 4)


async def test_a_cancel_ends_everything() -> None:
    work = Worker()
    source = Source()

    async def caller() -> None:
        async with amap(work, source.__aiter__(), limit=3) as results:
            async for _ in results:
                await forever()

    task = asyncio.create_task(caller())
    await ticks(20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.begun == work.ended
    assert source.closed


async def test_a_timeout_around_it() -> None:
    @effect(Timeout(SOON))
    async def all_of_it() -> None:
        async with amap(lambda _: sleep(30), itertools.count(), limit=3) as results:
            async for _ in results:
                pass

    with pytest.raises(TimeoutError):
        await all_of_it()


async def test_bounds_that_cannot_work() -> None:
    for limit in (0, -1):
        with pytest.raises(ConfigError):
            amap(value, [1], limit=limit)
