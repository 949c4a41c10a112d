"""Flights: their contexts, the receivers of their errors, calls that would wait for themselves, and leftovers."""

import asyncio
import contextvars
import gc
import threading
import traceback
import tracemalloc
import weakref
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    Priority,
    Retry,
    Timeout,
    _native,
    constant,
    deadline,
    effect,
    gather,
    priority,
)
from mountain_runtime.errors import Reentered, TimedOut
from tests.conftest import EVERY, LoopFactory

from .flying import Elsewhere, awaited, eventually, start
from .support import AT_ONCE, LONG, SOON, Boom, Watch, forever, outcome, suspends

# -- what it runs in -----------------------------------------------------------------------------------------

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def test_it_has_its_first_callers_context_but_not_his_deadline() -> None:
    seen: list[Any] = []

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        limit = _native.current_deadline()
        seen.append((who.get(), _native.priority_var.get(), limit and limit.remaining()))
        who.set("the flight")

    async def first() -> None:
        who.set("the first")
        with priority(Priority.HIGH):
            async with deadline(LONG):
                await get()
        assert who.get() == "the first"

    await asyncio.create_task(first())
    assert seen == [("the first", int(Priority.HIGH), None)]


@pytest.mark.parametrize("loop", EVERY)
def test_a_flight_that_is_begun_within_a_step_has_no_deadline_either(loop: str) -> None:
    """An eager loop takes a task's first step where it is made."""

    @effect(Cache(ttl=LONG))
    async def get() -> Any:
        return _native.current_deadline()

    @effect(Timeout(LONG))
    async def outer() -> Any:
        assert _native.current_deadline() is not None
        return await get()

    made = EVERY[loop]()
    try:
        assert made.run_until_complete(awaited(outer())) is None
    finally:
        made.close()


async def test_it_stands_under_the_timeouts_inside_its_cache() -> None:
    with Watch() as watch, pytest.raises(TimedOut) as ended:
        await effect(Cache(ttl=LONG), Timeout(SOON), name="inside")(forever)()
    assert watch.took < AT_ONCE
    assert (ended.value.effect, ended.value.policy) == ("inside", f"Timeout({SOON})")


# -- errors --------------------------------------------------------------------------------------------------


async def test_an_error_is_for_all_who_wait_and_for_nobody_else() -> None:
    boom, calls = Boom(), []

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        calls.append(1)
        await asyncio.sleep(0)
        raise boom

    found = await asyncio.gather(*[get() for _ in range(10)], return_exceptions=True)
    assert found == [boom] * 10
    assert len(calls) == 1
    assert await outcome(get()) is boom
    assert len(calls) == 2


async def test_many_who_wait_for_one_failure() -> None:
    """L10: a short traceback for each, and no memory that grows with them. A frame a waiter would be 100 frames."""

    async def deep(n: int) -> None:
        if n:
            await deep(n - 1)
        await asyncio.sleep(0)
        raise Boom

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        await deep(5)

    async def waits() -> int:
        try:
            await get()
        except Boom as error:
            return len(traceback.format_exception(error))
        raise AssertionError

    async def many() -> set[int]:
        return set(await asyncio.gather(*[asyncio.create_task(waits()) for _ in range(100)]))

    for found in [await many() for _ in range(3)]:
        assert max(found) < 20
    gc.collect()
    tracemalloc.start()

    async def grown() -> int:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            await many()
        await asyncio.sleep(0)  # the step that a gather has woken holds what it has gathered
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    try:
        await many()
        # Tables of others may grow once, a leak does so in each.
        assert min([await grown() for _ in range(2)]) < 10_000
    finally:
        tracemalloc.stop()


# -- calls that wait for themselves ---------------------------------------------------------------------------


async def test_a_cached_call_that_makes_itself_is_refused_at_once() -> None:
    """L8: directly, through another, through gather; and a waiter outside gets the error."""
    cache = Cache(ttl=LONG)

    @effect(cache)
    async def direct(x: int) -> int:
        return await direct(x) if x < 10 else await direct(x - 10)

    @effect(cache)
    async def one(x: int) -> int:
        return await other(x)

    @effect(Cache(ttl=LONG))
    async def other(x: int) -> int:
        return await one(x)

    @effect(cache)
    async def gathers(x: int) -> list[int]:
        return await gather([gathers(x), one(11)])

    @effect(cache, Timeout(LONG), Retry(on=Boom))
    async def wrapped(x: int) -> int:
        return await wrapped(x).under(Timeout(LONG))

    for function in (direct, one, other, gathers, wrapped):
        with Watch() as watch, pytest.raises(Reentered, match="would wait for what waits for it") as refused:
            await function(1)
        assert watch.took < AT_ONCE
        assert isinstance(refused.value, RuntimeError)
    assert await outcome(direct(12)) is not None


async def test_a_flight_that_needs_a_place_of_who_waits_for_it_is_refused() -> None:
    limit = ConcurrencyLimit(1)
    get = effect(Cache(ttl=LONG), limit)(suspends)

    @effect(limit)
    async def holds() -> Any:
        return await get()

    with Watch() as watch:
        assert isinstance(await outcome(holds()), Reentered)
        async with limit.slot():
            assert isinstance(await outcome(get()), Reentered)
        assert isinstance(await outcome(effect(limit, Cache(ttl=LONG))(get)()), Reentered)
    assert watch.took < AT_ONCE
    assert await get() == 1
    assert await holds() == 1


async def test_another_key_of_the_same_function_is_no_reentry() -> None:
    @effect(Cache(ttl=LONG))
    async def factorial(n: int) -> int:
        return n * await factorial(n - 1) if n else 1

    assert await factorial(20) == 2432902008176640000


async def test_what_a_flight_only_starts_waits_for_it_like_anybody() -> None:
    """A background task is not waited for, so that it may ask for the value of the flight that began it."""
    tasks: list[asyncio.Task[int]] = []

    @effect(Cache(ttl=LONG))
    async def get() -> int:
        tasks.append(asyncio.create_task(awaited(get())))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return 5

    assert await get() == 5
    assert await tasks[0] == 5
    assert len(tasks) == 1


async def test_flights_that_wait_for_each_other_by_turns() -> None:
    """Two calls of different tasks, each of whose runs asks for the other's value: one of them is refused."""
    gate = asyncio.Event()

    @effect(Cache(ttl=LONG))
    async def left() -> Any:
        await gate.wait()
        return await right()

    @effect(Cache(ttl=LONG))
    async def right() -> Any:
        await gate.wait()
        return await left()

    with Watch() as watch:
        work = [start(left()), start(right())]
        await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*work, return_exceptions=True)
    assert watch.took < AT_ONCE
    assert all(isinstance(each, Reentered) for each in found)


def test_flights_of_several_threads_that_wait_for_each_other(new_loop: LoopFactory) -> None:
    barrier = threading.Barrier(2)

    @effect(Cache(ttl=LONG))
    async def left() -> Any:
        await asyncio.to_thread(barrier.wait)
        return await right()

    @effect(Cache(ttl=LONG))
    async def right() -> Any:
        await asyncio.to_thread(barrier.wait)
        return await left()

    threads = [Elsewhere(new_loop, left), Elsewhere(new_loop, right)]
    assert all(isinstance(each.result(), Reentered) for each in threads)


# -- what is left --------------------------------------------------------------------------------------------


async def test_nothing_is_left_of_thousands_of_flights() -> None:
    class Token: ...

    alive: weakref.WeakSet[Token] = weakref.WeakSet()
    cache = Cache(ttl=LONG, max_size=10)
    holder: contextvars.ContextVar[Token] = contextvars.ContextVar("holder")

    @effect(cache)
    async def get(x: int) -> int:
        await asyncio.sleep(0)
        if x % 3 == 0:
            raise Boom
        return x

    async def caller(x: int) -> None:
        token = Token()
        alive.add(token)
        holder.set(token)
        if x % 5 == 0:
            await outcome(get(x).under(Timeout(0)))
        else:
            await outcome(get(x))

    async def some(n: int) -> None:
        for begin in range(0, n, 500):
            work = [asyncio.create_task(caller(x)) for x in range(begin, begin + 500)]
            for each in work[::7]:
                asyncio.get_running_loop().call_soon(each.cancel)
            await asyncio.wait(work)

    await some(1000)
    await eventually(lambda: len(asyncio.all_tasks()) == 1)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await some(5_000)
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(alive) == 0
    assert grown < 200_000  # 40 bytes a flight: less than any object
    assert cache.statistics()["size"] <= 10


async def test_a_retry_outside_shares_the_next_flight_too() -> None:
    calls: list[int] = []

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0)), Cache(ttl=LONG))
    async def get() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise Boom
        return len(calls)

    assert await asyncio.gather(*[get() for _ in range(10)]) == [2] * 10
    assert len(calls) == 2


async def test_an_error_says_where_it_was_raised() -> None:
    """The user's frames stand in it, for every follower alike, and none of ours behind them."""

    def looks_up() -> int:
        empty: dict[str, int] = {}
        return empty["missing"]

    @effect(Cache(ttl=LONG))
    async def get() -> int:
        await asyncio.sleep(0)
        return looks_up()

    async def names() -> list[str]:
        try:
            await get()
        except KeyError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        raise AssertionError

    for found in await asyncio.gather(*[names() for _ in range(5)]):
        assert found == ["names", "get", "looks_up"]
