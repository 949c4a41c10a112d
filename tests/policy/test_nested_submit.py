"""Work that a holder of a limit submits and then awaits waits for the holder: it is refused at once, however far in."""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Effect, Runtime, _native, amap, blocking, effect
from mountain_runtime.errors import Reentered

from .room import Room, counts, taken, tick, until
from .support import AT_ONCE, LONG, suspends

pytestmark = pytest.mark.usefixtures("collected")


async def refused(work: Awaitable[Any], *limits: ConcurrencyLimit) -> Reentered:
    """At once, and without a trace."""
    with pytest.raises(Reentered) as raised:
        await asyncio.wait_for(work, AT_ONCE)
    await until(lambda: all(counts(limit) == (0, 0) for limit in limits))
    return raised.value


@pytest.mark.parametrize("n", [1, 3])
async def test_a_function_that_submits_itself(n: int) -> None:
    depth, limit = 0, ConcurrencyLimit(n)
    async with Runtime() as runtime:

        @effect(limit, name="digs")
        async def digs() -> None:
            nonlocal depth
            depth += 1
            await asyncio.sleep(0)
            await runtime.submit(digs())

        error = await refused(digs(), limit)
    assert depth == n
    assert (error.effect, error.policy) == ("digs", repr(limit))


class House:
    """A limit of one place, and the ways in which a holder may come to need it again."""

    def __init__(self, runtime: Runtime) -> None:
        self.limit, self.other, self.runtime = ConcurrencyLimit(1), ConcurrencyLimit(1), runtime

    def call(self) -> Effect[int]:
        return self.limit.call(suspends)

    def native(self) -> Effect[int]:
        return _native.trial_noop(1).under(self.limit)

    async def a_call(self) -> Any:
        return await self.runtime.submit(self.call())

    async def a_native_call(self) -> Any:
        return await self.runtime.submit(self.native())

    async def before_the_await(self) -> Any:
        handle = self.runtime.submit(self.call())
        await until(lambda: counts(self.limit) == (1, 1))
        return await handle

    async def native_before_the_await(self) -> Any:
        handle = self.runtime.submit(self.native())
        await until(lambda: counts(self.limit) == (1, 1))
        return await handle

    async def after_the_await(self) -> Any:
        @effect
        async def later() -> int:
            await tick()
            return await self.call()

        return await self.runtime.submit(later())

    async def deep(self) -> Any:
        """Await and submit in turns."""

        @effect
        async def submits(depth: int) -> int:
            return await (self.runtime.submit(awaits(depth - 1)) if depth else self.call())

        @effect
        async def awaits(depth: int) -> int:
            return await submits(depth)

        return await submits(4)

    async def last_link_first(self) -> Any:
        """The waiter is awaited by code that a holder comes to await in the end."""
        handle = self.runtime.submit(self.call())

        @effect
        async def awaits() -> int:
            return await handle

        outer = self.runtime.submit(awaits())
        await until(lambda: counts(self.limit) == (1, 1))
        return await outer

    async def through_another_limit(self) -> Any:
        return await self.runtime.submit(self.other.call(self.a_call))

    async def in_a_slot(self) -> Any:
        async with self.limit.slot():
            return 1

    async def to_a_slot(self) -> Any:
        return await self.runtime.submit(effect(self.in_a_slot)())

    async def gathered_by_asyncio(self) -> Any:
        return await asyncio.gather(self.runtime.submit(self.call()), self.runtime.submit(self.native()))

    async def mapped(self) -> Any:
        async with amap(lambda _: self.runtime.submit(self.call()), [1, 2], limit=2) as results:
            return [result async for _, result in results]

    async def from_a_thread(self) -> Any:
        return await blocking(lambda: self.runtime.from_thread(self.call()))()


WAYS = [name for name, way in vars(House).items() if inspect.iscoroutinefunction(way) and name != "in_a_slot"]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_wait_for_oneself(way: str) -> None:
    async with Runtime() as runtime:
        house = House(runtime)
        work: Callable[[], Awaitable[Any]] = getattr(house, way)
        await refused(house.limit.call(work), house.limit, house.other)

        async def block() -> Any:
            async with house.limit.slot():
                return await work()

        await refused(block(), house.limit, house.other)


async def test_a_blocking_function_holds_the_place_itself() -> None:
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime:
        await refused(blocking(limit)(lambda: runtime.from_thread(limit.call(suspends)))(), limit)


@pytest.mark.parametrize("native", [False, True])
async def test_what_a_runtime_admits_one_at_a_time(native: bool) -> None:
    async with Runtime(max_in_flight=1) as runtime:

        @effect
        async def outer() -> Any:
            return await runtime.submit(_native.trial_noop(1) if native else effect(suspends)())

        error = await refused(runtime.submit(outer()))
        assert error.policy is None  # none that was written
        assert "at max_in_flight of its runtime" in str(error)
        assert await runtime.submit(effect(suspends)()) == 1


async def test_a_cached_call_that_submits_itself() -> None:
    async with Runtime() as runtime:

        @effect(Cache(ttl=LONG))
        async def at_once() -> Any:
            return await runtime.submit(at_once())

        @effect(Cache(ttl=LONG))
        async def later() -> Any:
            handle = runtime.submit(later())
            await tick()
            return await handle

        @effect(Cache(ttl=LONG))
        async def gathered() -> Any:
            return await asyncio.gather(runtime.submit(gathered()))

        @effect(Cache(ttl=LONG))
        async def from_thread() -> Any:
            return await blocking(lambda: runtime.from_thread(from_thread()))()

        for cached in (at_once, later, gathered, from_thread):
            await refused(cached())


# -- what can go on ---------------------------------------------------------------------------------------------------


async def test_what_is_submitted_and_not_awaited_waits() -> None:
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime:

        @effect(limit)
        async def starts() -> list[Any]:
            ways = [limit.call(suspends), _native.trial_noop(1).under(limit)]
            handles = [runtime.submit(way) for way in ways] + [asyncio.gather(runtime.submit(limit.call(suspends)))]
            await until(lambda: counts(limit) == (1, 3))
            return handles

        assert await asyncio.gather(*await starts()) == [1, 1, [1]]
    assert counts(limit) == (0, 0)


async def test_who_has_stopped_waiting_waits_no_more() -> None:
    """By a cancel, which ends what is awaited; the holder may submit again."""
    limit = ConcurrencyLimit(2)
    async with Runtime() as runtime, taken(limit):

        @effect(limit)
        async def holder() -> Any:
            handle = runtime.submit(limit.call(suspends))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await handle
            assert handle.cancelled()
            return runtime.submit(limit.call(suspends))

        assert await (await holder()) == 1
    assert counts(limit) == (0, 0)


async def test_a_place_of_anothers_is_worth_waiting_for() -> None:
    limit = ConcurrencyLimit(2)
    async with Runtime() as runtime:

        @effect(limit)
        async def holder() -> Any:
            return await runtime.submit(limit.call(suspends))

        async with taken(limit):
            waits = asyncio.create_task(holder())
            await until(lambda: counts(limit) == (2, 1))
        assert await waits == 1


async def test_the_last_of_several_holders_is_refused() -> None:
    limit, room = ConcurrencyLimit(2), Room()
    async with Runtime() as runtime:

        @effect(limit)
        async def holder() -> Any:
            await room.doors.wait()
            return await runtime.submit(limit.call(suspends))

        tasks = [asyncio.create_task(holder()) for _ in range(2)]
        await tick()
        room.doors.set()
        await asyncio.wait(tasks)
        assert sorted(type(task.exception()) is Reentered for task in tasks) == [False, True]
    assert counts(limit) == (0, 0)


async def test_a_holder_that_has_gone_counts_no_more() -> None:
    """It goes on to await after its place was given back."""
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime, taken(ConcurrencyLimit(1)):

        async def holder() -> Any:
            async with limit.slot():
                handle = runtime.submit(limit.call(suspends))
                await until(lambda: counts(limit) == (1, 1))
            return await handle

        assert await holder() == 1


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_is_nested_comes_to_an_end(seed: int) -> None:
    """Trees of calls of one limit, awaited, submitted and awaited, or only submitted: they end, or are refused."""
    chance = random.Random(seed)
    limit = ConcurrencyLimit(chance.randint(1, 3))
    async with Runtime() as runtime:

        async def one(depth: int) -> None:
            await asyncio.sleep(0)
            handles: list[Awaitable[Any]] = []
            for _ in range(chance.randint(0, 3) if depth else 0):
                kind = chance.randrange(4)
                native = chance.random() < 0.3
                work: Effect[Any] = _native.trial_noop(1).under(limit) if native else call(depth - 1)
                if kind == 0:
                    await work
                    continue
                handle = runtime.submit(work)
                if kind == 1:
                    await handle
                elif kind == 2:
                    handles.append(handle)
            for handle in handles:
                await handle

        def call(depth: int) -> Effect[None]:
            function = effect(limit)(one) if chance.random() < 0.7 else effect(one)
            return function(depth)

        calls = [asyncio.create_task(awaited(call(3))) for _ in range(4)]
        done, pending = await asyncio.wait(calls, timeout=5 * AT_ONCE)
        assert not pending
        assert {type(task.exception()) for task in done} <= {type(None), Reentered}
        await until(lambda: not runtime._in_flight())
    assert counts(limit) == (0, 0)


async def awaited(work: Awaitable[Any]) -> None:
    await work
