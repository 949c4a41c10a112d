"""A task of ours that user code finds and cancels before its first step: its waiter is told, and does not hang."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mountain_runtime import Hedge, amap, batch, chunked, effect, gather, stream


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(0)
        yield number


@effect
async def later(number: int = 1) -> int:
    await asyncio.sleep(0)
    return number


@batch(1)
async def load(ids: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return ids


async def timed_lists() -> None:
    async with chunked(numbers(), 2, within=60) as lists:
        async for _ in lists:
            pass


async def results() -> None:
    async with amap(later, numbers(), limit=1) as found:
        async for _ in found:
            pass


async def lists_of_a_hedged_stream() -> None:
    async with chunked(stream(Hedge(60))(numbers)(), 2, within=60) as lists:
        async for _ in lists:
            pass


async def batched() -> None:
    await load(1)


async def gathered() -> None:
    await gather(later(1), later(2))


@pytest.mark.asyncio(loop_factories=["asyncio", "uvloop", "debug"])  # an eager task has begun where it is made
@pytest.mark.parametrize("use", [timed_lists, lists_of_a_hedged_stream, results, batched, gathered])
async def test_its_waiter_is_told(use: Callable[[], Awaitable[None]]) -> None:
    before = asyncio.all_tasks()
    user = asyncio.ensure_future(use())
    ours = set[asyncio.Task[object]]()
    for _ in range(3):
        await asyncio.sleep(0)
        if ours := asyncio.all_tasks() - before - {user}:
            break
    for task in ours:
        task.cancel()
    await asyncio.wait_for(asyncio.wait([user]), 10)
    assert user.cancelled()
    assert asyncio.all_tasks() == before
