"""Flights: one run of a cached call for everybody who waits, whoever comes and goes, wherever they are."""

import asyncio
import contextvars
import gc
import threading
import time
import traceback
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable
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

from .support import AT_ONCE, LONG, SOON, Boom, Stop, Watch, forever, outcome, suspends


class Runs:
    """A function under way: how often it began, how it ended, and a gate."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.cleaned = 0
        self.open = threading.Event()

    async def __call__(self, x: int = 0) -> int:
        self.begun += 1
        number = self.begun
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.0005)  # the gate is for several loops, which share no event
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            await asyncio.sleep(0)
            self.cleaned += 1
        return number


async def awaited(work: Awaitable[Any]) -> Any:
    return await work


async def eventually(holds: Callable[[], bool]) -> None:
    """What happens beside us has happened: there is nothing to wait on."""
    end = time.monotonic() + AT_ONCE * 5
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def start(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(awaited(work))


class Elsewhere:
    """A thread with a loop of its own, on which one coroutine runs."""

    def __init__(self, new_loop: LoopFactory, work: Callable[[], Awaitable[Any]]) -> None:
        self.found: Any = None
        self.thread = threading.Thread(target=self._run, args=(new_loop, work), daemon=True)
        self.thread.start()

    def _run(self, new_loop: LoopFactory, work: Callable[[], Awaitable[Any]]) -> None:
        loop = new_loop()
        try:
            self.found = loop.run_until_complete(outcome(work()))
        finally:
            loop.close()

    def result(self) -> Any:
        self.thread.join(LONG)
        assert not self.thread.is_alive(), "it hangs"
        return self.found


# -- one run -------------------------------------------------------------------------------------------------


def test_500_misses_at_once_from_loops_and_threads_are_one_run(new_loop: LoopFactory, complaints: list[str]) -> None:
    """L7."""
    runs, cache = Runs(), Cache(ttl=LONG)
    get = effect(cache)(runs)
    barrier = threading.Barrier(5)

    async def hundred() -> list[int]:
        await asyncio.to_thread(barrier.wait)
        work = [start(get(7)) for _ in range(100)]
        while cache.statistics()["misses"] < 500:
            await asyncio.sleep(0.001)
        runs.open.set()
        return await asyncio.gather(*work)

    threads = [Elsewhere(new_loop, hundred) for _ in range(5)]
    assert [each.result() for each in threads] == [[1] * 100] * 5
    assert runs.begun == 1
    assert complaints == []


async def test_who_comes_when_it_has_landed_has_the_value() -> None:
    runs = Runs()
    runs.open.set()
    get = effect(Cache(ttl=0))(runs)
    assert await asyncio.gather(*[get() for _ in range(10)]) == [1] * 10
    assert await get() == 2


# -- who comes and goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "timed out", "deadline"])
async def test_it_goes_on_when_its_first_caller_goes_while_another_waits(how: str) -> None:
    runs = Runs()
    get = effect(Cache(ttl=LONG))(runs)

    async def under_deadline() -> int:
        async with deadline(SOON):
            return await get()

    callers = {"cancelled": get, "timed out": lambda: get().under(Timeout(SOON)), "deadline": under_deadline}
    first = start(callers[how]())
    await eventually(lambda: runs.begun == 1)
    others = [start(get()) for _ in range(3)]
    await asyncio.sleep(0)
    if how == "cancelled":
        first.cancel()
    await asyncio.wait([first])
    if how == "cancelled":
        assert first.cancelled()
    else:
        assert isinstance(first.exception(), TimedOut)
    others.pop().cancel()
    await asyncio.sleep(0)
    runs.open.set()
    assert await asyncio.gather(*others) == [1, 1]
    assert (runs.begun, runs.cancelled) == (1, 0)


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_with_nobody_left_it_is_cancelled_and_its_cleanup_runs(how: str, loop_complaints: list[str]) -> None:
    runs = Runs()
    get = effect(Cache(ttl=LONG))(runs)
    work = [start(get().under(Timeout(SOON if how == "timed out" else LONG))) for _ in range(3)]
    await eventually(lambda: runs.begun == 1)
    if how == "cancelled":
        for each in work:
            each.cancel()
    await asyncio.wait(work)
    await eventually(lambda: runs.cleaned == 1)
    assert runs.cancelled == 1
    # And the next one begins anew.
    runs.open.set()
    assert await get() == 2
    gc.collect()
    assert loop_complaints == []


async def test_who_comes_while_it_is_being_cancelled_begins_another() -> None:
    runs = Runs()
    get = effect(Cache(ttl=LONG))(runs)
    first = start(get())
    await eventually(lambda: runs.begun == 1)
    first.cancel()
    await asyncio.wait([first])
    second = start(get())
    await eventually(lambda: runs.begun == 2)
    runs.open.set()
    assert await second == 2
    assert runs.cancelled == 1


async def test_a_cancel_of_the_run_itself_is_never_kept() -> None:
    """Somebody who cancels all tasks cancels the flight's as well: whoever waits begins another."""
    runs = Runs()
    get = effect(Cache(ttl=LONG), name="flight")(runs)
    work = start(get())
    await eventually(lambda: runs.begun == 1)
    (flight,) = [task for task in asyncio.all_tasks() if task.get_name() == "flight"]
    flight.cancel()
    await eventually(lambda: runs.begun == 2)
    runs.open.set()
    assert await work == 2
    assert flight.cancelled()


async def test_a_run_that_is_cancelled_before_it_begins_is_begun_by_who_waits(loop_complaints: list[str]) -> None:
    runs = Runs()
    runs.open.set()
    get = effect(Cache(ttl=LONG), name="unborn")(runs)
    work = [start(get()), start(get())]
    await asyncio.sleep(0)
    (flight,) = [task for task in asyncio.all_tasks() if task.get_name() == "unborn"]
    assert runs.begun == 0
    flight.cancel()
    assert await asyncio.gather(*work) == [1, 1]
    gc.collect()
    assert loop_complaints == []


@pytest.mark.parametrize("error", [asyncio.CancelledError("mine"), Stop("mine")], ids=["cancel", "exit"])
async def test_what_the_function_raises_of_its_own_is_given_to_who_waits(
    error: BaseException, loop_complaints: list[str]
) -> None:
    """It would raise that again, so nobody begins another; nor is it kept, tried again, or swallowed."""
    calls: list[int] = []

    @effect(Retry(on=Exception), Cache(ttl=LONG))
    async def get() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        raise error

    with Watch() as watch:
        for times in (1, 2):
            work = [start(get()) for _ in range(3)]
            await asyncio.wait(work)
            for each in work:
                if isinstance(error, asyncio.CancelledError):
                    assert each.cancelled()
                else:
                    assert each.exception() is error
            assert len(calls) == times
    assert watch.took < AT_ONCE
    gc.collect()
    assert loop_complaints == []


@pytest.mark.parametrize("exit_", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_a_flight_ends_its_loop_and_another_loop_takes_over(
    exit_: type[BaseException], new_loop: LoopFactory
) -> None:
    begun: list[int] = []

    @effect(Cache(ttl=LONG))
    async def get() -> int:
        begun.append(1)
        if len(begun) > 1:
            return 2
        while cache_misses() < 2:
            await asyncio.sleep(0.001)
        raise exit_

    cache = get.plan.policies[0]  # type: ignore[attr-defined]

    def cache_misses() -> int:
        return int(cache.statistics()["misses"])

    def first() -> None:
        loop = new_loop()
        with pytest.raises(exit_):
            loop.run_until_complete(awaited(get()))
        loop.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not begun:
        time.sleep(0.001)
    follower = Elsewhere(new_loop, get)
    thread.join()
    assert follower.result() == 2


# -- its loop is closed --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("cancels", [True, False], ids=["cancels its tasks", "drops them"])
def test_a_follower_on_another_loop_takes_over(cancels: bool, new_loop: LoopFactory) -> None:
    runs, cache = Runs(), Cache(ttl=LONG)
    get = effect(cache)(runs)

    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)  # a task that is dropped is complained about
    first = loop.create_task(awaited(get()))
    while not runs.begun:
        loop.run_until_complete(asyncio.sleep(0))
    followers = [Elsewhere(new_loop, get) for _ in range(3)]
    while cache.statistics()["misses"] < 4:
        time.sleep(0.001)
    if cancels:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        assert runs.cancelled == 1
    loop.close()
    while runs.begun == 1:
        time.sleep(0.001)
    runs.open.set()
    assert [each.result() for each in followers] == [2] * 3
    assert runs.begun == 2
    del first


# -- what it runs in -----------------------------------------------------------------------------------------

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def test_it_has_its_first_callers_context_but_not_his_deadline() -> None:
    seen: list[Any] = []

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        limit = _native.current_limit()
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
        return _native.current_limit()

    @effect(Timeout(LONG))
    async def outer() -> Any:
        assert _native.current_limit() is not None
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


async def test_a_thousand_who_wait_for_one_failure() -> None:
    """L10: a short traceback for each, and no memory that grows with them."""

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

    async def thousand() -> set[int]:
        return set(await asyncio.gather(*[asyncio.create_task(waits()) for _ in range(1000)]))

    for found in [await thousand() for _ in range(3)]:
        assert max(found) < 20
    gc.collect()
    tracemalloc.start()
    try:
        await thousand()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            await thousand()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


# -- waiting for oneself -------------------------------------------------------------------------------------


async def test_a_cached_call_that_makes_itself_is_refused_at_once() -> None:
    """L8: directly, through another, through gather; and whoever waits outside hears of it."""
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


async def test_nothing_is_left_of_ten_thousand_flights() -> None:
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
        await some(10_000)
        await eventually(lambda: len(asyncio.all_tasks()) == 1)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(alive) == 0
    assert grown < 200_000
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
