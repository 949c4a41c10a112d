"""Code that holds no place of a limit: code that left a generator, a task that only has the context of one that did."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, _native, effect, gather
from mountain_runtime.errors import Reentered

from .room import counts, tick
from .support import LONG, suspends

pytestmark = pytest.mark.usefixtures("collected")

Numbers = Callable[[ConcurrencyLimit], AsyncIterator[int]]
Use = Callable[[ConcurrencyLimit], Awaitable[Any]]


async def block(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async with limit.slot():
        yield 1


async def block_with_cleanup(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async with limit.slot():
        try:
            yield 1
        finally:
            await tick(20)


@asynccontextmanager
async def place(limit: ConcurrencyLimit) -> AsyncIterator[None]:
    async with limit.slot():
        yield


async def helper(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async with place(limit), asyncio.timeout(LONG):
        yield 1


async def exit_stack(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place(limit))
        yield 1


class Place:
    def __init__(self, limit: ConcurrencyLimit) -> None:
        self.slot = limit.slot()

    async def __aenter__(self) -> Self:
        await self.slot.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.slot.__aexit__(None, None, None)


async def class_of_ours(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async with Place(limit):
        yield 1


async def generator_of_a_generator(limit: ConcurrencyLimit) -> AsyncIterator[int]:
    async for n in block(limit):
        yield n


async def uses_a_slot(limit: ConcurrencyLimit) -> None:
    async with limit.slot():
        await asyncio.sleep(0)


NUMBERS: list[Numbers] = [
    block,
    block_with_cleanup,
    helper,
    exit_stack,
    class_of_ours,
    generator_of_a_generator,
]
USES: dict[str, Use] = {
    "slot": uses_a_slot,
    "call": lambda limit: limit.call(suspends),
    "native": lambda limit: _native.trial_noop(1).under(limit),
    "child": lambda limit: gather([limit.call(suspends), _native.trial_noop(1).under(limit)]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("numbers", NUMBERS)
async def test_a_generator_left_by_break_is_no_holder(numbers: Numbers, use: Use) -> None:
    limit = ConcurrencyLimit(1)
    for _ in range(2):
        async for _n in numbers(limit):
            break
        assert counts(limit) == (1, 0)  # the loop has not closed it yet
        await use(limit)
    await tick(30)
    assert counts(limit) == (0, 0)


@pytest.mark.parametrize("numbers", NUMBERS)
async def test_one_that_is_still_there_holds_its_place(numbers: Numbers) -> None:
    limit = ConcurrencyLimit(1)
    async for _n in (kept := numbers(limit)):
        break
    for use in (USES["slot"], USES["call"], USES["native"]):
        with pytest.raises(Reentered):
            await use(limit)
    del kept
    await USES["slot"](limit)


async def test_what_waits_inside_an_abandoned_block_does_not_refuse_others() -> None:
    """A child of the block waits, and the block is left: the place has no holder any more, and comes back once."""
    limit = ConcurrencyLimit(2)
    other = limit.slot()
    await asyncio.create_task(entered(other))
    numbers = block(limit)
    assert await anext(numbers) == 1
    child = asyncio.ensure_future(gather([limit.call(suspends)]))
    await tick()
    assert counts(limit) == (2, 1)
    del numbers
    second = asyncio.create_task(limit.call(suspends))
    await limit.call(suspends)
    await asyncio.gather(child, second)
    await other.__aexit__(None, None, None)
    assert counts(limit) == (0, 0)
    async with limit.slot(), limit.slot():
        with pytest.raises(Reentered):
            await limit.call(suspends)


async def entered(slot: Any) -> None:
    await slot.__aenter__()


async def test_collected_with_a_circle() -> None:
    limit = ConcurrencyLimit(1)

    async def leaves() -> None:
        circle: list[Any] = [numbers := block(limit)]
        circle.append(circle)
        async for _n in numbers:
            break

    await leaves()
    gc.collect()
    await limit.call(suspends)


async def test_a_slot_that_another_context_left() -> None:
    limit, slot = ConcurrencyLimit(1), ConcurrencyLimit(1).slot()
    for _ in range(2):
        slot = limit.slot()
        await slot.__aenter__()
        await asyncio.create_task(left(slot))
        async with limit.slot():
            pass
        await limit.call(suspends)
    for _ in range(2):
        slot = limit.slot()
        context = contextvars.copy_context()
        await asyncio.create_task(entered(slot), context=context)
        task = asyncio.create_task(limit.call(suspends), context=context)  # has the context, and is no holder
        await tick()
        assert counts(limit) == (1, 1)
        await slot.__aexit__(None, None, None)
        await task


async def left(slot: Any) -> None:
    await slot.__aexit__(None, None, None)


async def test_a_callback_and_a_thread_have_the_context_only() -> None:
    limit = ConcurrencyLimit(1)
    loop = asyncio.get_running_loop()
    started: list[asyncio.Task[Any]] = []

    def start() -> None:
        started.append(loop.create_task(limit.call(suspends)))

    def in_a_thread() -> None:
        asyncio.run_coroutine_threadsafe(limit.call(suspends), loop).result()

    async with limit.slot():
        loop.call_soon(start)
        thread = asyncio.create_task(asyncio.to_thread(in_a_thread))
        while counts(limit) != (1, 2):
            await asyncio.sleep(0.001)  # until the thread has come
    await asyncio.gather(thread, *started)


# -- a task where another one was -------------------------------------------------------------------------------------


class Successor:
    """Started by a child, it makes a task at the child's address when the child has ended."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.work = work
        self.go = asyncio.Event()
        # Made before, as one of these would take the place itself.
        self.coroutines = [self.works() for _ in range(300)]

    async def child(self) -> None:
        self.background = asyncio.create_task(self.makes(id(asyncio.current_task())))

    async def makes(self, address: int) -> "asyncio.Task[Any] | None":
        await self.go.wait()
        await tick()
        tasks = []
        while self.coroutines and (not tasks or id(tasks[-1]) != address):
            tasks.append(asyncio.get_running_loop().create_task(self.coroutines.pop()))
        made = tasks.pop() if id(tasks[-1]) == address else None
        for other in tasks:
            other.cancel()
        for coroutine in self.coroutines:
            coroutine.close()
        return made

    async def works(self) -> Any:
        return await self.work()

    async def task(self) -> "asyncio.Task[Any] | None":
        self.go.set()
        task = await self.background
        await tick()
        return task


async def found(attempt: Callable[[], Awaitable["asyncio.Task[Any] | None"]]) -> "asyncio.Task[Any]":
    """Until the address was free: the allocator has its own mind."""
    for _ in range(30):
        task = await attempt()
        if task is not None:
            return task
    raise AssertionError("no task came to be where another one was")


@pytest.mark.parametrize("way", ["gathered", "cached"])
async def test_a_task_at_the_address_of_a_child_is_no_child(way: str) -> None:
    limit = ConcurrencyLimit(1)

    @effect(limit)
    async def holds() -> "asyncio.Task[Any] | None":
        successor = Successor(lambda: limit.call(suspends))
        starts = effect(successor.child) if way == "gathered" else effect(Cache(ttl=LONG))(successor.child)
        await (gather([starts()]) if way == "gathered" else starts())
        task = await successor.task()
        assert counts(limit) == (1, 0 if task is None else 1)
        return task

    assert await (await found(holds)) == 1


async def test_nor_is_it_a_part_of_a_flight() -> None:
    cache = Cache(ttl=LONG)

    @effect(cache)
    async def cached() -> "asyncio.Task[Any] | None":
        successor = Successor(cached)
        await gather([effect(successor.child)()])
        return await successor.task()

    async def attempt() -> "asyncio.Task[Any] | None":
        cache.invalidate(cached)
        return await cached()

    task = await found(attempt)
    assert await task is task


async def test_an_ended_task_is_not_kept_by_what_it_started() -> None:
    """The context in which a task held a place is copied to what it starts, and may live long."""
    limit, born = ConcurrencyLimit(1), asyncio.Event()

    class Result: ...

    async def outlives() -> None:
        born.set()
        await asyncio.get_running_loop().create_future()

    async def holds() -> tuple[Result, "asyncio.Task[None]"]:
        async with limit.slot():
            task = asyncio.create_task(outlives())
            await born.wait()
        return Result(), task

    _, background = await asyncio.create_task(holds())
    del _
    await tick()
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o) is Result]
    background.cancel()
    with suppress(asyncio.CancelledError):
        await background
