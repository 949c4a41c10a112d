"""A task that an effect makes stands under what its context says, also where it begins within the effect."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from mountain_runtime import Runtime, Timeout, amap, effect
from mountain_runtime._effect.children import start
from mountain_runtime._native import InheritedDeadline, current_deadline

from .support import LONG


@effect
async def limit() -> InheritedDeadline | None:
    return current_deadline()


async def test_submitted_work() -> None:
    @effect(Timeout(LONG))
    async def submits() -> "asyncio.Future[InheritedDeadline | None]":
        assert await limit() is not None
        return runtime.submit(limit())

    async with Runtime() as runtime:
        assert await (await submits()) is None


async def test_a_service() -> None:
    seen: list[InheritedDeadline | None] = []

    @asynccontextmanager
    async def service() -> AsyncGenerator[int]:
        seen.append(await limit())
        yield 1
        seen.append(await limit())

    @effect(Timeout(LONG))
    async def enters() -> None:
        runtime = Runtime()
        runtime.provide(int, service)
        async with runtime:
            pass

    await enters()
    assert seen == [None, None]


async def test_a_source() -> None:
    async def numbers() -> AsyncGenerator[InheritedDeadline | None]:
        yield await limit()

    async def same(item: InheritedDeadline | None) -> InheritedDeadline | None:
        return item

    @effect(Timeout(LONG))
    async def pulls() -> list[InheritedDeadline | None]:
        async with amap(effect(same), numbers(), limit=1) as results:
            return [item async for item, _ in results]

    assert await pulls() == [None]


@pytest.mark.parametrize("limited", [False, True])
async def test_a_task_of_its_own(limited: bool) -> None:
    """As `start` does for the parts of a group: a limit that is handed on is in the context."""

    async def part() -> InheritedDeadline | None:
        return await limit()

    @effect(Timeout(LONG))
    async def begins() -> "asyncio.Task[InheritedDeadline | None]":
        return start(part(), current_deadline() if limited else None)

    assert (await (await begins()) is not None) == limited
