"""Callers that hold what the batch which they share needs: refused where no holder could go on, and only there."""

import asyncio
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Effect, Timeout, batch, effect, gather
from mountain_runtime.errors import Reentered, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, ticks

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


async def tenfold(ids: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return [each * 10 for each in ids]


async def outcomes(*calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_callers_that_fill_the_limit_of_their_batch_are_refused(size: int) -> None:
    limit = ConcurrencyLimit(size)
    load = batch(10, limit)(tenfold)
    got = await asyncio.wait_for(outcomes(*(limit.call(load, each) for each in range(size))), 5)
    assert [type(each) for each in got] == [Reentered] * size
    assert await load(1) == 10


async def test_as_blocks_too() -> None:
    limit = ConcurrencyLimit(2)
    load = batch(10, limit)(tenfold)

    async def call(item: int) -> int:
        async with limit.slot():
            return await load(item)

    assert [type(each) for each in await asyncio.wait_for(outcomes(call(1), call(2)), 5)] == [Reentered] * 2


async def test_a_limit_with_a_free_place_is_no_deadlock() -> None:
    limit = ConcurrencyLimit(3)
    load = batch(10, limit)(tenfold)
    assert await outcomes(limit.call(load, 1), limit.call(load, 2)) == [10, 20]


async def test_a_holder_that_does_not_call_is_waited_for() -> None:
    limit = ConcurrencyLimit(2)
    load = batch(10, limit)(tenfold)
    go = asyncio.Event()
    other = asyncio.create_task(held(limit, go))
    await ticks()
    caller = asyncio.create_task(called(limit.call(load, 1)))
    await ticks(9)
    assert not caller.done()
    go.set()
    assert [await caller, await other] == [10, None]


async def held(limit: ConcurrencyLimit, go: asyncio.Event) -> None:
    async with limit.slot():
        await go.wait()


async def called(call: Effect[Any]) -> Any:
    return await call


@virtual
async def test_a_caller_that_leaves_holds_nothing_up_any_more(virtual_clock: VirtualClock) -> None:
    limit = ConcurrencyLimit(2)
    load = batch(10, limit, wait=1)(tenfold)
    go = asyncio.Event()

    async def leaves() -> None:
        async with limit.slot():
            with pytest.raises(TimedOut):
                await load(1).under(Timeout(0.5))
            await go.wait()  # holds its place, and does not wait for the batch

    async def stays() -> int:
        async with limit.slot():
            return await load(2)

    first, second = asyncio.create_task(leaves()), asyncio.create_task(stays())
    await virtual_clock.advance(2)
    assert not second.done()
    go.set()
    assert [await second, await first] == [20, None]


@virtual
async def test_one_that_leaves_while_the_batch_waits(virtual_clock: VirtualClock) -> None:
    limit = ConcurrencyLimit(3)
    load = batch(10, limit)(tenfold)
    go = asyncio.Event()
    third = asyncio.create_task(held(limit, go))
    await ticks()

    async def leaves() -> None:
        async with limit.slot():
            with pytest.raises(TimedOut):
                await load(1).under(Timeout(0.5))
            await asyncio.sleep(LONG)

    first, second = asyncio.create_task(leaves()), asyncio.create_task(called(limit.call(load, 2)))
    await virtual_clock.advance(1)
    late = asyncio.create_task(called(limit.call(tenfold, [3])))  # a queue, which looks at the holders again
    await ticks(5)
    assert not second.done()
    go.set()
    assert [await second, await third, await late] == [20, None, [30]]
    first.cancel()


async def test_a_later_caller_completes_the_circle() -> None:
    limit = ConcurrencyLimit(2)
    load = batch(2, limit, wait=LONG)(tenfold)
    one = asyncio.create_task(called(limit.call(load, 1)))
    await ticks(3)
    assert not one.done()
    two = asyncio.create_task(called(limit.call(load, 2)))
    assert [type(each) for each in await asyncio.wait_for(outcomes(one, two), 5)] == [Reentered] * 2


async def test_in_a_gather_of_a_holder() -> None:
    limit = ConcurrencyLimit(1)
    load = batch(10, limit)(tenfold)

    @effect(limit)
    async def both() -> tuple[int, int]:
        return await gather(load(1), load(2))

    with pytest.raises(Reentered):
        await asyncio.wait_for(both(), 5)


async def test_a_batch_that_waits_for_the_cached_call_that_awaits_it() -> None:
    cache = Cache(ttl=LONG)

    @effect(cache)
    async def value() -> int:
        return await load(1)

    @batch(10)
    async def load(ids: list[int]) -> list[int]:
        return [await value() for _ in ids]

    with pytest.raises(Reentered):
        await asyncio.wait_for(value(), 5)
