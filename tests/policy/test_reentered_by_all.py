"""Callers of one cached call that fill the limit which its flight needs, whichever of them began it, are refused at
once; one that has left the flight, or work that it submitted, is waited for as any holder."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Effect, Runtime, Timeout, effect, gather
from mountain_runtime.errors import Reentered, TimedOut
from mountain_runtime.testing import VirtualClock

from .room import counts, tick, until
from .support import AT_ONCE, LONG, suspends

pytestmark = pytest.mark.usefixtures("collected")
virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


def cached(*inside: Any) -> Any:
    @effect(Cache(ttl=LONG), *inside)
    async def value(key: int) -> int:
        await asyncio.sleep(0)
        return key * 10

    return value


async def called(call: Effect[Any]) -> Any:
    return await call


async def inside(limit: ConcurrencyLimit, call: Effect[Any]) -> Any:
    async with limit.slot():
        return await call


async def held(limit: ConcurrencyLimit, go: asyncio.Event) -> Any:
    async with limit.slot():
        await go.wait()


async def outcomes(*calls: Any) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), AT_ONCE)


def all_refused(got: list[Any], n: int) -> bool:
    return [type(each) for each in got] == [Reentered] * n


# -- all of them wait -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("by_slot", [True, False])
async def test_all_are_refused(size: int, by_slot: bool) -> None:
    limit = ConcurrencyLimit(size)
    value = cached(limit)
    calls = [inside(limit, value(1)) if by_slot else called(limit.call(value, 1)) for _ in range(size)]
    assert all_refused(await outcomes(*calls), size)
    assert counts(limit) == (0, 0)
    assert await value(1) == 10


async def test_a_limit_without_a_queue_refuses_them_for_the_same_reason() -> None:
    limit = ConcurrencyLimit(2, max_waiting=0)
    value = cached(limit)
    go = asyncio.Event()
    last = asyncio.create_task(held(limit, go))
    await tick()
    assert [type(each) for each in await outcomes(limit.call(value, 1))] != [Reentered]
    go.set()
    await last
    assert all_refused(await outcomes(*(inside(limit, value(1)) for _ in range(2))), 2)


async def test_the_caller_that_began_it_may_hold_nothing() -> None:
    """It is refused with the others: the flight is theirs too."""
    limit = ConcurrencyLimit(2)
    go = asyncio.Event()

    @effect(Cache(ttl=LONG))
    async def value() -> Any:
        await go.wait()
        return await limit.call(suspends)

    calls = [asyncio.create_task(called(value()))]
    await tick()
    calls += [asyncio.create_task(inside(limit, value())) for _ in range(2)]
    await tick()
    go.set()
    assert all_refused(await outcomes(*calls), 3)


async def test_the_last_to_join_completes_the_circle() -> None:
    limit = ConcurrencyLimit(2)
    value = cached(limit)
    go = asyncio.Event()

    async def joins() -> Any:
        async with limit.slot():
            await go.wait()
            return await value(1)

    calls = [asyncio.create_task(inside(limit, value(1))), asyncio.create_task(joins())]
    await tick(9)
    assert not calls[0].done()
    go.set()
    assert all_refused(await outcomes(*calls), 2)


async def test_through_another_flight() -> None:
    """The holders wait for flights of their own, which all wait for one."""
    limit = ConcurrencyLimit(3)
    value = cached(limit)

    @effect(Cache(ttl=LONG))
    async def outer(_: int) -> Any:
        return await value(1)

    assert all_refused(await outcomes(*(inside(limit, outer(n)) for n in range(3))), 3)
    assert await outer(1) == 10


async def test_in_a_gather_of_a_holder() -> None:
    limit = ConcurrencyLimit(1)
    value = cached(limit)
    other = asyncio.create_task(called(value(1)))

    @effect(limit)
    async def both() -> Any:
        return await gather([value(1), value(2)])

    assert all_refused(await outcomes(both(), other), 2)


@pytest.mark.parametrize("native", [True, False])
async def test_work_that_several_holders_await(native: bool) -> None:
    limit = ConcurrencyLimit(2)
    go = asyncio.Event()
    async with Runtime() as runtime:

        @effect
        async def later() -> Any:
            await go.wait()
            return await (limit.call(suspends) if not native else limit.call(suspends).under(Timeout(LONG)))

        async def first() -> Any:
            async with limit.slot():
                handles.append(runtime.submit(later()))
                return await handles[0]

        async def second() -> Any:
            async with limit.slot():
                return await handles[0]

        handles: list[Any] = []
        calls = [asyncio.create_task(each()) for each in (first, second)]
        await tick(5)
        go.set()
        assert all_refused(await outcomes(*calls), 2)


# -- one of them does not ---------------------------------------------------------------------------------------------


async def test_a_limit_with_a_free_place_is_no_deadlock() -> None:
    limit = ConcurrencyLimit(3)
    value = cached(limit)
    assert await outcomes(inside(limit, value(1)), inside(limit, value(1))) == [10, 10]


async def test_other_keys_of_the_limit_are_no_circle() -> None:
    limit = ConcurrencyLimit(1, key=lambda key: key)
    value = cached(limit)
    assert await limit.call(lambda key: called(value(key + 1)), 1) == 20


@virtual
@pytest.mark.parametrize("begins", [True, False])
async def test_one_that_leaves_the_flight_is_waited_for(virtual_clock: VirtualClock, begins: bool) -> None:
    """It goes on to hold its place, and gives it back later: whether it began the flight or joined it."""
    limit = ConcurrencyLimit(2)
    go = asyncio.Event()

    @effect(Cache(ttl=LONG))
    async def slow() -> Any:
        await asyncio.sleep(1)
        return await limit.call(suspends)

    async def leaves() -> Any:
        async with limit.slot():
            await asyncio.sleep(0.0 if begins else 0.2)
            with pytest.raises(TimedOut):
                await slow().under(Timeout(0.5))
            await go.wait()

    async def stays() -> Any:
        async with limit.slot():
            await asyncio.sleep(0.1)
            return await slow()

    first, second = asyncio.create_task(leaves()), asyncio.create_task(stays())
    await virtual_clock.advance(2)
    assert not second.done()
    assert counts(limit) == (2, 1)
    go.set()
    assert [await second, await first] == [1, None]


@virtual
async def test_one_that_leaves_while_the_flight_waits(virtual_clock: VirtualClock) -> None:
    limit = ConcurrencyLimit(3)
    value = cached(limit)
    go = asyncio.Event()
    last = asyncio.create_task(held(limit, go))
    await tick()

    async def leaves() -> Any:
        async with limit.slot():
            with pytest.raises(TimedOut):
                await value(1).under(Timeout(0.5))
            await go.wait()

    async def joins() -> Any:
        async with limit.slot():
            await asyncio.sleep(0.1)
            return await value(1)

    first, second = asyncio.create_task(leaves()), asyncio.create_task(joins())
    await virtual_clock.advance(1)
    third = asyncio.create_task(called(limit.call(suspends)))  # a queue, which looks at the holders again
    await tick(5)
    assert not second.done()
    go.set()
    assert [await second, await first, await last, await third] == [10, None, None, 1]


@virtual
async def test_a_cancelled_one_holds_nothing_up(virtual_clock: VirtualClock) -> None:
    limit = ConcurrencyLimit(2)
    value = cached(limit)
    go = asyncio.Event()
    last = asyncio.create_task(held(limit, go))
    await tick()
    calls = [asyncio.create_task(inside(limit, value(1)))]
    await tick(5)
    calls[0].cancel()
    await tick(5)
    assert counts(limit) == (1, 0)
    go.set()
    await last
    assert await inside(limit, value(1)) == 10


class Driven:
    """Steps a coroutine by hand, and leaves it by an exception or by a close."""

    def __init__(self, coro: Any) -> None:
        self.coro = coro

    def __await__(self) -> Generator[Any, None, str]:
        handle = self.coro.send(None)
        handle._asyncio_future_blocking = False
        yield None
        return "parked"


@pytest.mark.parametrize("how", ["throw", "close"])
async def test_a_holder_that_left_submitted_work_which_goes_on(how: str) -> None:
    """Nothing cancels the work: its runtime owns it."""
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime:
        go = asyncio.Event()

        @effect
        async def later() -> Any:
            await go.wait()
            return await limit.call(suspends)

        async def awaits(handle: Any) -> Any:
            return await handle

        async with limit.slot():
            handle = runtime.submit(later())
            coro = awaits(handle)
            assert await Driven(coro) == "parked"
            if how == "throw":
                with pytest.raises(KeyError):
                    coro.throw(KeyError())
            else:
                coro.close()
            go.set()
            await until(lambda: counts(limit) == (1, 1))
            await tick(5)
            assert not handle.done()
        assert await handle == 1
