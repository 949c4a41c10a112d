"""Flights: one run of a cached call for all who wait, whichever callers come and go, wherever they are."""

import asyncio
import gc
import threading
import time

import pytest

from mountain_runtime import (
    Cache,
    Retry,
    Timeout,
    deadline,
    effect,
)
from mountain_runtime.errors import TimedOut
from tests.conftest import LoopFactory

from .flying import Elsewhere, Runs, awaited, eventually, start
from .support import AT_ONCE, LONG, SOON, Stop, Watch

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
    others = [start(get()) for _ in range(3)]
    await eventually(lambda: runs.begun == 1)
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
    """A cancel of all tasks cancels the flight's as well: a waiter begins another."""
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
    """It would raise that again, so no waiter begins another; nor is it kept, tried again, or swallowed."""
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
