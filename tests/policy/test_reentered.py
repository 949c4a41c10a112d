"""Reentered: a call that would wait for itself is refused at once; one that was merely started is not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Runtime, Timeout, _native, amap, blocking, effect, gather, race
from mountain_runtime.errors import Reentered, Rejected

from .room import Room, counts, taken, tick, until
from .support import AT_ONCE, LONG, forever

pytestmark = pytest.mark.usefixtures("collected")


def refused(error: BaseException, limit: ConcurrencyLimit, name: str) -> None:
    assert isinstance(error, Reentered)
    assert isinstance(error, Rejected)
    assert isinstance(error, RuntimeError)
    assert (error.effect, error.policy, error.attempt) == (name, repr(limit), 1)
    for part in (name, "would wait for what waits for it", repr(limit), "Call what is inside without"):
        assert part in str(error)


async def nested(limit: ConcurrencyLimit, inner: Callable[[], Awaitable[Any]]) -> Any:
    """`inner` in a call that holds a place."""

    @effect(limit, name="outer")
    async def outer() -> Any:
        return await inner()

    return await outer()


@pytest.mark.parametrize("n", [1, 3])
async def test_a_function_that_calls_itself(n: int) -> None:
    depth, limit = 0, ConcurrencyLimit(n)

    @effect(limit, name="digs")
    async def digs() -> None:
        nonlocal depth
        depth += 1
        await asyncio.sleep(0)
        await digs()

    with pytest.raises(Reentered) as raised:
        await digs()
    refused(raised.value, limit, "digs")
    assert depth == n
    assert counts(limit) == (0, 0)


async def test_two_functions_that_share_a_limit() -> None:
    limit = ConcurrencyLimit(1, name="shared")

    @effect(Timeout(LONG), limit, Timeout(LONG))
    async def inner() -> None: ...

    @effect
    async def between() -> None:
        await inner().map(str)

    for way in (inner, between, lambda: limit.call(asyncio.sleep, 0), lambda: inner().attempt(ValueError)):
        with pytest.raises(Reentered):
            await nested(limit, way)


async def test_another_key_or_another_limit_is_another_matter() -> None:
    limit, other = ConcurrencyLimit(1, key=lambda n: n), ConcurrencyLimit(1)

    @effect(limit)
    async def digs(n: int) -> int:
        return n if n == 0 else await other.call(digs_from, n)

    async def digs_from(n: int) -> int:
        return n + await asyncio.create_task(awaited(n - 1)) if n < 0 else n

    async def awaited(n: int) -> int:
        return await digs(n)

    assert await digs(3) == 3

    @effect(limit)
    async def counts_down(n: int) -> int:
        return n + await counts_down(n - 1) if n else 0

    assert await counts_down(5) == 15

    @effect(limit)
    async def circle(n: int) -> int:
        return await circle((n + 1) % 3)

    with pytest.raises(Reentered):
        await circle(0)
    assert counts(limit) == (0, 0)


async def test_a_block_in_a_block_and_a_call_in_a_block() -> None:
    limit, other = ConcurrencyLimit(1, name="cellar"), ConcurrencyLimit(2)
    async with limit.slot():
        with pytest.raises(Reentered) as raised:
            async with limit.slot():
                pytest.fail("there was no place")
        refused(raised.value, limit, "cellar.slot")
        with pytest.raises(Reentered):
            await limit.call(asyncio.sleep, 0)
        with pytest.raises(Reentered):
            await _native.trial_noop(1).under(limit)
        async with other.slot(), other.slot():
            with pytest.raises(Reentered):
                await other.call(asyncio.sleep, 0)
        assert counts(limit) == (1, 0)
    assert (counts(limit), counts(other)) == ((0, 0), (0, 0))


async def test_a_block_in_a_call() -> None:
    """Of the same limit, and of one that the call knows nothing of: the block is further in than the call."""
    limit, other = ConcurrencyLimit(2), ConcurrencyLimit(1)

    async def two_blocks() -> None:
        async with limit.slot(), limit.slot():
            pytest.fail("there was no place")

    async def call_in_block() -> None:
        async with other.slot():
            await other.call(asyncio.sleep, 0)

    async def call_in_call_in_block() -> None:
        async with other.slot():
            await nested(ConcurrencyLimit(1), lambda: other.call(asyncio.sleep, 0))

    async def call_after_block() -> int:
        async with limit.slot():
            pass
        return await limit.call(asyncio.sleep, 0, 7)

    for way in (two_blocks, call_in_block):
        with pytest.raises(Reentered):
            await nested(limit, way)
    with pytest.raises(Reentered):
        await asyncio.wait_for(call_in_block(), AT_ONCE)
    assert await nested(limit, call_after_block) == 7
    assert counts(other) == (0, 0)


async def test_a_consumer_of_a_generator_that_holds_the_place() -> None:
    """The generator goes on when its consumer asks: a consumer that waits within the loop waits for itself."""
    limit = ConcurrencyLimit(1)

    async def numbers() -> Any:
        async with limit.slot():
            yield 1

    async with aclosing(numbers()) as generator:
        async for _ in generator:
            with pytest.raises(Reentered):
                await limit.call(asyncio.sleep, 0)
    await limit.call(asyncio.sleep, 0)


async def test_our_own_children_are_waited_for() -> None:
    limit = ConcurrencyLimit(1)

    async def leaf(n: int = 0) -> int:
        return n

    def call(n: int = 0) -> Any:
        return limit.call(leaf, n)

    async def maps() -> list[int]:
        async with amap(call, [1, 2], limit=2) as results:
            return [result async for _, result in results]

    async def races() -> Any:
        try:
            return await race(call(), _native.trial_noop(1).under(limit))
        except ExceptionGroup as group:
            if [type(e) for e in group.exceptions] != [Reentered] * 2:
                raise
            raise group.exceptions[0] from None

    native = gather([_native.trial_noop(1).under(limit)])
    assert _native.is_native(native)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: gather([call(), call()]),
        lambda: gather([leaf_effect(), gather([call()])]),
        lambda: gather([_native.trial_noop(1).under(limit), call()]),
        lambda: gather([_native.trial_noop(1).under(limit)]),
        lambda: native,  # made elsewhere, and waited for here
        lambda: race(call()),
        races,
        maps,
    ]

    @effect
    async def leaf_effect() -> None:
        await asyncio.sleep(0)

    for way in ways:
        with pytest.raises((Reentered, ExceptionGroup)) as raised:
            await nested(limit, way)
        assert "wait for what waits" in str(raised.value) or raised.group_contains(Reentered)
        await until(lambda: counts(limit) == (0, 0))


async def test_who_could_get_a_place_from_another_waits() -> None:
    """All places but one are others': the call waits until one of them ends."""
    limit = ConcurrencyLimit(2)
    async with taken(limit):
        outer = asyncio.create_task(nested(limit, lambda: limit.call(asyncio.sleep, 0, 5)))
        await tick()
        assert counts(limit) == (2, 1)
    assert await outer == 5


async def test_the_last_of_several_that_wait_for_one_another_is_refused() -> None:
    room, limit = Room(), ConcurrencyLimit(2)

    @effect(limit)
    async def outer() -> Any:
        await room.doors.wait()
        return await limit.call(asyncio.sleep, 0, 1)

    tasks = [asyncio.create_task(outer()) for _ in range(2)]
    await tick()
    room.doors.set()
    await asyncio.wait(tasks)
    assert tasks[0].result() == 1  # the place that the other gave back
    assert isinstance(tasks[1].exception(), Reentered)
    assert counts(limit) == (0, 0)


async def test_fewer_places_may_leave_nobody_to_wait_for() -> None:
    limit = ConcurrencyLimit(2)
    async with taken(limit):
        outer = asyncio.create_task(nested(limit, lambda: limit.call(asyncio.sleep, 0)))
        await tick()
        assert counts(limit) == (2, 1)
        limit.resize(1)
        assert counts(limit) == (2, 1)  # the other may end, and then
    with pytest.raises(Reentered):
        await outer


# -- what is started, and not waited for ----------------------------------------------------------------------------


async def test_a_task_that_a_holder_starts_waits_as_others_do() -> None:
    limit = ConcurrencyLimit(1)
    started: list[asyncio.Future[Any]] = []

    async def leaf() -> int:
        return 1

    async with Runtime() as runtime:

        def start() -> None:
            started.append(asyncio.create_task(limit.call(leaf)))
            started.append(asyncio.ensure_future(gather([limit.call(leaf), limit.call(leaf)])))
            started.append(asyncio.create_task(_native.trial_noop(1).under(limit)))
            started.append(runtime.submit(limit.call(leaf)))
            started.append(runtime.submit(_native.trial_noop(1).under(limit)))
            started.append(runtime.submit(gather([_native.trial_noop(1).under(limit)] * 2)))
            started.append(asyncio.create_task(gather([_native.trial_noop(1).under(limit)] * 2)))

        async def starts() -> None:
            start()
            await until(lambda: counts(limit) == (1, 10))  # they wait, while it goes on

        await nested(limit, starts)
        await until(lambda: counts(limit) == (0, 0))
        async with limit.slot():
            await starts()
        found = await asyncio.gather(*started)
        assert found == [1, [1, 1], 1, 1, 1, [1, 1], [1, 1]] * 2
    assert counts(limit) == (0, 0)


async def test_a_place_that_a_thread_keeps_does_not_count_for_its_caller() -> None:
    """A blocking call knows nothing of the event loop: what its caller does next is nothing that it waits for."""
    limit = ConcurrencyLimit(1)
    await blocking(limit)(int)()
    assert await limit.call(asyncio.sleep, 0, 3) == 3


async def test_the_holder_may_have_gone() -> None:
    """A child of its own that outlives a holder's place waits for others' only."""
    limit = ConcurrencyLimit(1)
    slot = limit.slot()
    await slot.__aenter__()
    waits = asyncio.ensure_future(gather([effect(forever)()]))
    await tick()
    await slot.__aexit__(None, None, None)
    async with taken(limit):
        second = asyncio.ensure_future(gather([limit.call(asyncio.sleep, 0, 2)]))
        await tick()
        assert counts(limit) == (1, 1)
    assert await second == [2]
    waits.cancel()
    await asyncio.wait([waits])
