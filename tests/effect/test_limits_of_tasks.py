"""A task that an effect makes stands under what its context says, also on an eager loop, where it begins within the
effect's step.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mountain_runtime import ConcurrencyLimit, Runtime, Timeout, amap, deadline, effect
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


# -- the user's own tasks --------------------------------------------------------------------------------------------

Limit = InheritedDeadline | None


async def by_create_task() -> Limit:
    return await asyncio.create_task(seen())


async def by_a_task_group() -> Limit:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seen())
    return task.result()


async def by_gather() -> Limit:
    return (await asyncio.gather(seen()))[0]


async def by_ensure_future() -> Limit:
    return await asyncio.ensure_future(limit())


async def by_a_task_of_a_task() -> Limit:
    return await asyncio.create_task(by_create_task())


async def seen() -> Limit:
    at_once = await limit()
    await asyncio.sleep(0)
    later = await limit()
    assert (at_once is None) == (later is None)
    return at_once


OWN_TASKS = [by_create_task, by_a_task_group, by_gather, by_ensure_future, by_a_task_of_a_task]


@pytest.mark.parametrize("begins", OWN_TASKS)
async def test_a_task_of_the_users_is_under_no_timeout_of_its_makers(begins: Callable[[], Awaitable[Limit]]) -> None:
    @effect(Timeout(LONG))
    async def makes() -> Limit:
        assert await limit() is not None
        found = await begins()
        assert await limit() is not None  # the effect's own holds again
        return found

    assert await makes() is None


@pytest.mark.parametrize("begins", OWN_TASKS)
async def test_a_task_of_the_users_is_under_a_block_around_it(begins: Callable[[], Awaitable[Limit]]) -> None:
    @effect(Timeout(LONG))
    async def makes() -> Limit:
        async with deadline(2 * LONG):
            return await begins()

    found = await makes()
    assert found is not None
    assert found.remaining() > LONG


async def test_a_task_of_the_users_has_limits_of_its_own() -> None:
    nearer = effect(Timeout(LONG))(seen)

    async def begun() -> float:
        found = await nearer()
        assert found is not None
        assert await limit() is None
        return found.remaining()

    @effect(Timeout(LONG / 2))
    async def makes() -> float:
        return await asyncio.create_task(begun())

    assert await makes() > LONG / 2


async def test_a_task_of_the_users_holds_no_permit_of_its_makers() -> None:
    """It waits for the place, which its maker gives up: no error says that it would wait for itself."""
    one = ConcurrencyLimit(1)
    inner = effect(one)(seen)

    async def calls() -> Limit:
        return await inner()

    @effect(Timeout(LONG), one)
    async def makes() -> "asyncio.Task[Limit]":
        return asyncio.create_task(calls())

    assert await (await makes()) is None
