"""`async with limit.slot():` a place for a block of code: around generators, nested, cancelled, and left in any way."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import ConcurrencyLimit, Priority, _native, deadline, effect, priority
from mountain_runtime.errors import QueueFull, TimedOut

from .room import Room, cancelled, counts, taken, task_at, tick, until
from .support import AT_ONCE, SOON, Boom, Watch

pytestmark = pytest.mark.usefixtures("collected")


async def test_it_takes_one_of_the_places() -> None:
    room, limit = Room(), ConcurrencyLimit(3)

    async def block(who: int) -> None:
        async with limit.slot():
            await room.passes(who, ticks=2)

    await asyncio.gather(*[block(who) for who in range(20)], *[limit.call(room.passes) for _ in range(20)])
    assert room.most == 3
    assert counts(limit) == (0, 0)


async def test_blocks_come_in_in_their_order_and_by_priority() -> None:
    room, limit = Room(), ConcurrencyLimit(1)

    async def block(who: object) -> None:
        async with limit.slot():
            await room.passes(who)

    await asyncio.gather(*[block(who) for who in range(500)])
    assert room.came == list(range(500))
    room.came.clear()
    async with taken(limit):
        tasks = [task_at(p, lambda p=p: block(p)) for p in (*Priority, *Priority)]
        await until(lambda: counts(limit) == (1, 6))
    await asyncio.gather(*tasks)
    assert room.came == sorted([*Priority, *Priority], reverse=True)


async def test_it_is_left_in_any_way() -> None:
    limit = ConcurrencyLimit(1)
    for error in (Boom, asyncio.CancelledError, KeyboardInterrupt):
        with pytest.raises(error):
            async with limit.slot():
                assert counts(limit) == (1, 0)
                raise error
        assert counts(limit) == (0, 0)

    async def returns() -> int:
        async with limit.slot():
            return 1

    assert await returns() == 1
    assert counts(limit) == (0, 0)


async def test_around_an_async_generator() -> None:
    """The place is taken from the first item to the last, or until the generator is closed."""
    limit = ConcurrencyLimit(1)

    async def numbers() -> AsyncIterator[int]:
        async with limit.slot():
            for n in range(5):
                yield n
                await asyncio.sleep(0)

    async def consume() -> list[int]:
        found = []
        async for n in numbers():
            assert counts(limit)[0] == 1
            found.append(n)
        return found

    assert await asyncio.gather(consume(), consume(), consume()) == [list(range(5))] * 3
    assert counts(limit) == (0, 0)
    async with contextlib.aclosing(numbers()) as left_early:
        assert await anext(left_early) == 0
    assert counts(limit) == (0, 0)


async def test_a_generator_that_is_closed_by_another_task_gives_its_place_back() -> None:
    limit = ConcurrencyLimit(1)

    async def numbers() -> AsyncIterator[int]:
        async with limit.slot():
            yield 1

    generator = numbers()
    assert await anext(generator) == 1
    assert counts(limit) == (1, 0)
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
    assert counts(limit) == (0, 0)
    # The place that this task believed to hold is gone: it may wait for the limit again.
    async with taken(limit):
        waiter = asyncio.ensure_future(limit.call(asyncio.sleep, 0))
        await tick()
        assert counts(limit) == (1, 1)
    await waiter
    await limit.call(asyncio.sleep, 0)


async def test_nested_where_there_is_room() -> None:
    outer, inner = ConcurrencyLimit(2), ConcurrencyLimit(1)
    async with outer.slot(), inner.slot(), outer.slot():
        assert (counts(outer), counts(inner)) == ((2, 0), (1, 0))
    assert (counts(outer), counts(inner)) == ((0, 0), (0, 0))
    one, two = outer.slot(), outer.slot()
    await one.__aenter__()
    await two.__aenter__()
    await one.__aexit__(None, None, None)  # not in the order of a stack
    assert counts(outer) == (1, 0)
    await two.__aexit__(None, None, None)
    assert counts(outer) == (0, 0)


async def test_it_is_entered_once() -> None:
    limit = ConcurrencyLimit(2)
    slot = limit.slot()
    async with slot:
        with pytest.raises(RuntimeError, match="entered once"):
            await slot.__aenter__()
        assert counts(limit) == (1, 0)
    with pytest.raises(RuntimeError, match="ask for another"):
        async with slot:
            pass
    assert counts(limit) == (0, 0)
    limit.slot()  # entering it is not required


async def test_leaving_it_twice_gives_back_one_place() -> None:
    limit = ConcurrencyLimit(2)
    slot = limit.slot()
    await slot.__aenter__()
    async with limit.slot():
        await slot.__aexit__(None, None, None)
        with contextlib.suppress(RuntimeError):
            await slot.__aexit__(None, None, None)
        assert counts(limit) == (1, 0)


async def test_cancelled_while_it_waits() -> None:
    room, limit = Room(), ConcurrencyLimit(1)

    async def block() -> None:
        async with limit.slot():
            await room.passes()

    async with taken(limit):
        tasks = [asyncio.create_task(block()) for _ in range(3)]
        await until(lambda: counts(limit) == (1, 3))
        await cancelled(tasks[0])
        await cancelled(tasks[2])
        assert counts(limit) == (1, 1)
    await tasks[1]
    assert len(room.came) == 1
    assert counts(limit) == (0, 0)


async def test_cancelled_at_the_grant() -> None:
    """T2, for a block: its place is on its way from a worker's thread as the cancel comes."""
    limit = ConcurrencyLimit(1)
    entered = 0

    async def block() -> None:
        nonlocal entered
        async with limit.slot():
            entered += 1

    for n in range(1000):
        slot = limit.slot()
        await slot.__aenter__()
        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        assert counts(limit) == (1, 1)
        await slot.__aexit__(None, None, None)
        for _ in range(n % 9):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: counts(limit) == (0, 0))
    await block()
    assert entered >= 1


async def test_a_deadline_covers_the_wait() -> None:
    limit = ConcurrencyLimit(1)
    async with taken(limit):
        with Watch() as watch, pytest.raises(TimedOut):
            async with deadline(SOON), limit.slot():
                pytest.fail("there was no place")
        assert watch.took < AT_ONCE
        await until(lambda: counts(limit) == (1, 0))


async def test_who_is_refused() -> None:
    limit = ConcurrencyLimit(1, max_waiting=0, name="shop")
    async with taken(limit):
        with pytest.raises(QueueFull) as refused:
            async with limit.slot():
                pytest.fail("there was no place")
        assert (refused.value.effect, refused.value.policy) == ("shop.slot", repr(limit))
    limit = ConcurrencyLimit(1, max_waiting=1, overflow="shed")

    async def block() -> None:
        async with limit.slot():
            pass

    async with taken(limit):
        low = task_at(Priority.LOW, block)
        await until(lambda: counts(limit) == (1, 1))
        with priority(Priority.HIGH):
            high = asyncio.create_task(block())
        with pytest.raises(QueueFull):
            await low
    await high


async def test_with_a_key() -> None:
    room, limit = Room(), ConcurrencyLimit(1, key=lambda who: who)
    async with limit.slot("a"):
        await asyncio.wait_for(asyncio.create_task(limit.call(room.passes, "b")), AT_ONCE)
        waits = asyncio.create_task(limit.call(room.passes, "a"))
        async with limit.slot(key="c"):
            await tick()
            assert counts(limit) == (2, 1)
        assert room.came == ["b"]
    await waits


async def test_it_is_no_hindrance_to_effects_that_know_nothing_of_it() -> None:
    limit = ConcurrencyLimit(1)
    async with limit.slot():
        assert await effect(asyncio.sleep)(0, 1) == 1
        assert await _native.trial_noop(2) == 2
    assert counts(limit) == (0, 0)


async def test_what_enters_and_leaves_it_is_a_coroutine_to_asyncio() -> None:
    limit = ConcurrencyLimit(1)
    slot, second = limit.slot(), limit.slot()
    await asyncio.create_task(slot.__aenter__())  # type: ignore[arg-type]
    assert counts(limit) == (1, 0)
    waits = asyncio.create_task(second.__aenter__())  # type: ignore[arg-type]
    await until(lambda: counts(limit) == (1, 1))
    await asyncio.create_task(slot.__aexit__(None, None, None))  # type: ignore[arg-type]
    await waits
    assert counts(limit) == (1, 0)
    await second.__aexit__(None, None, None)
    assert counts(limit) == (0, 0)


async def test_nothing_happens_before_it_is_awaited() -> None:
    limit = ConcurrencyLimit(1)
    slot = limit.slot()
    entering = slot.__aenter__()
    assert counts(limit) == (0, 0)
    with pytest.raises(RuntimeError, match="entered once"):
        slot.__aenter__()
    with pytest.raises(RuntimeError, match="when it has been entered"):
        await slot.__aexit__(None, None, None)
    await entering
    leaving = slot.__aexit__(None, None, None)
    assert counts(limit) == (1, 0)
    await leaving
    assert counts(limit) == (0, 0)


@pytest.mark.parametrize("end", ["close", "throw"])
async def test_a_wait_that_is_ended_from_outside_leaves_the_queue(end: str) -> None:
    limit = ConcurrencyLimit(1)

    async def block() -> None:
        async with limit.slot():
            pytest.fail("there was no place")

    async with taken(limit):
        waits = block()
        assert asyncio.isfuture(waits.send(None))
        assert counts(limit) == (1, 1)
        if end == "close":
            waits.close()
        else:
            with pytest.raises(Boom):
                waits.throw(Boom())
        await until(lambda: counts(limit) == (1, 0))
    assert counts(limit) == (0, 0)


async def test_a_place_is_given_back_with_a_slot_that_nobody_left() -> None:
    limit = ConcurrencyLimit(1)
    await limit.slot().__aenter__()
    gc.collect()
    assert counts(limit) == (0, 0)


async def test_one_in_a_circle_is_collected() -> None:
    class Owner:
        def __init__(self) -> None:
            self.limit = ConcurrencyLimit(1, key=lambda owner: owner)
            self.slot = self.limit.slot(key=self)

    for _ in range(3):  # its memory is used again
        owner = Owner()
        await owner.slot.__aenter__()
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        assert gone() is None


async def test_blocks_that_wait_together_leave_no_circle() -> None:
    async def crowd() -> "weakref.ref[ConcurrencyLimit]":
        limit = ConcurrencyLimit(1, max_waiting=2)

        async def block() -> None:
            async with limit.slot():
                await tick()

        results = await asyncio.gather(*[block() for _ in range(4)], return_exceptions=True)
        (refused,) = [found for found in results if isinstance(found, QueueFull)]
        assert (refused.effect, refused.policy) == ("ConcurrencyLimit.slot", repr(limit))
        return weakref.ref(limit)

    gone = await crowd()
    await tick()
    gc.collect()
    assert gone() is None
