"""Lifetimes: runs that never finish, tasks without a reference, and nothing that grows."""

import asyncio
import contextlib
import errno
import gc
import sysconfig
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    Effect,
    Policy,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    constant,
    effect,
)
from mountain_runtime._native import statistics
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep

from .support import LONG, SOON, Boom, collect, forever, ticks


class Big:
    """Something whose end can be watched."""


async def holds(_: Any) -> None:
    await forever()


async def fails(_: Any) -> None:
    raise Boom


PARKED = effect(Retry(on=Boom, attempts=2, backoff=constant(LONG)))(fails)
SUSPENDED = effect(Timeout(LONG))(holds)
BARE = effect(holds)


@pytest.mark.parametrize("make", [SUSPENDED, BARE, holds], ids=["suspended", "bare", "plain"])
async def test_a_run_that_never_ends_can_go(make: Any) -> None:
    big = Big()
    seen = weakref.ref(big)
    work = make(big)
    work.send(None)
    del work, big
    collect()
    assert seen() is None


@pytest.mark.parametrize("make", [SUSPENDED, BARE, holds], ids=["suspended", "bare", "plain"])
async def test_a_pending_task_that_is_dropped_can_go(make: Any) -> None:
    """As with a plain coroutine: asyncio says so, and everything is freed."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    big = Big()
    seen = weakref.ref(big)

    async def caller(big: Big) -> None:
        await make(big)

    task = asyncio.create_task(caller(big))
    await ticks()
    del task, big
    collect()
    await ticks()
    collect()
    assert seen() is None


async def test_a_run_that_waits_between_attempts_survives_a_collection() -> None:
    """asyncio holds its tasks weakly: what waits for a timer of ours is held by the loop's port."""
    ended: list[str] = []

    async def caller() -> None:
        await effect(Retry(on=Boom, attempts=2, backoff=constant(SOON)))(fails)(None).attempt(Boom)
        ended.append("parked")

    async def native() -> None:
        await sleep(SOON)
        ended.append("native")

    asyncio.create_task(caller())
    asyncio.create_task(native())
    for _ in range(20):
        await asyncio.sleep(SOON / 5)  # beyond the backoff in all
        gc.collect()
    assert sorted(ended) == ["native", "parked"]


async def test_what_was_recycled_is_still_watched_by_the_collector() -> None:
    """Effects, runs and handles are made from the memory of old ones; circles through those must be found too."""

    async def made() -> tuple[bool, bool, bool]:
        work, native = BARE(None), noop()
        run, handle = work.__await__(), native.__await__()
        handle.add_done_callback(lambda _: None)  # before that it is in no circle
        tracked = gc.is_tracked(work), gc.is_tracked(run), gc.is_tracked(handle)
        run.close()
        await native
        return tracked

    for _ in range(5):
        assert await made() == (True, True, True)


async def test_a_cancelled_run_lets_go() -> None:
    for make in (PARKED, SUSPENDED, BARE):
        big = Big()
        seen = weakref.ref(big)
        task = asyncio.ensure_future(make(big))
        await ticks()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task, big
        await ticks()  # the loop's own step still knows the task that it was woken by
        collect()
        assert seen() is None


async def test_an_effect_that_is_part_of_a_circle_can_go() -> None:
    big = Big()
    seen = weakref.ref(big)
    work = effect(holds)(big)
    big.own = work  # type: ignore[attr-defined]
    work.close()
    del work, big
    collect()
    assert seen() is None

    class Holder:
        def __init__(self) -> None:
            self.call = effect(Retry(on=self.judge))(self.run)

        def judge(self, _: Exception) -> bool:
            return False

        async def run(self) -> int:
            await asyncio.sleep(0)
            return 1

    holder = Holder()
    gone = weakref.ref(holder)
    assert await holder.call() == 1
    del holder
    collect()
    assert gone() is None


@pytest.mark.parametrize(
    "policy",
    [lambda: Cache(ttl=LONG), lambda: ConcurrencyLimit(1, key=abs), lambda: RateLimit(10, per=1, key=abs)],
    ids=["cache", "limit", "rate"],
)
async def test_a_function_whose_arguments_are_a_key_goes_with_all_it_holds(policy: Callable[[], Policy]) -> None:
    big = Big()
    seen = weakref.ref(big)
    timers = statistics()["timers"]

    def make(big: Big) -> Callable[..., Effect[int]]:
        class Number(int):
            holds = big

        @effect(policy())
        async def work(n: Number) -> int:
            assert big
            return n

        Number.work = work  # type: ignore[attr-defined]
        return work

    work = make(big)
    assert [await work(1), await work(n=1)] == [1, 1]
    del work, big
    collect()
    await ticks()  # the flight's task has gone from the loop
    collect()
    assert seen() is None
    assert statistics()["timers"] <= timers  # no timer is left for keys that are gone


async def test_a_result_is_not_kept() -> None:
    async def makes() -> Big:
        await asyncio.sleep(0)
        return Big()

    seen = weakref.ref(await effect(Timeout(LONG))(makes)())
    collect()
    assert seen() is None


async def test_an_error_is_not_kept() -> None:
    """No reference circle through the traceback: without the collector, the error and its frames are gone."""
    gc.disable()
    try:

        async def raises() -> None:
            big = Big()
            seen.append(weakref.ref(big))
            await asyncio.sleep(0)
            raise Boom

        seen: list[weakref.ref[Big]] = []
        for policies in ((), (Timeout(LONG),), (Retry(on=Boom, attempts=2, backoff=constant(0)),)):
            try:
                await effect(*policies, name="raises")(raises)()
            except Boom:
                pass
            assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()


async def test_polls_of_an_effect_that_never_ends_leave_nothing() -> None:
    """B13: a short wait for something that does not come, again and again; the 100k of the case are in tests/stress."""
    await polls(100)
    collect()
    before = len(gc.get_objects())
    await polls(1000)
    collect()
    assert len(gc.get_objects()) - before < 100


async def polls(n: int) -> None:
    """Polls of 1 ms, fifty at a time."""
    python = effect(Timeout(LONG))(forever)
    for _ in range(n // 50):
        waits = [asyncio.wait_for(make(), 0.001) for make in (python, lambda: sleep(LONG)) for _ in range(25)]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError}


async def test_many_calls_leave_nothing() -> None:
    @effect(Retry(on=Boom, attempts=3, backoff=constant(0)), Timeout(LONG))
    async def leaf(n: int) -> int:
        if n % 3:
            await asyncio.sleep(0)
        if n % 7 == 0:
            raise Boom
        return n

    async def calls() -> None:
        for n in range(2000):
            await leaf(n).attempt(Boom)
            if not n % 10:
                await noop(n)

    await calls()
    collect()
    before = len(gc.get_objects())
    await calls()
    collect()
    assert len(gc.get_objects()) - before < 100


async def test_an_async_generator_left_in_the_middle() -> None:
    log: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield await noop(1)
        finally:
            await noop()
            log.append("closed")

    async for _ in numbers():
        break
    collect()
    for _ in range(500):
        if log:
            break
        await asyncio.sleep(0.002)  # the loop closes it in a task of its own, which waits for native work
    assert log == ["closed"]


async def test_the_collector_looks_at_a_native_calls_handle_when_something_may_lead_back_to_it() -> None:
    async with Runtime() as runtime:
        handle = runtime.submit(sleep(0.01))
        # A free-threaded interpreter is told at once: two threads at a time may have something to add to a handle.
        assert gc.is_tracked(handle) is bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        handle.add_done_callback(lambda _: None)
        assert gc.is_tracked(handle)
        failed = runtime.submit(fail(errno.ENOENT))
        with contextlib.suppress(OSError):
            await failed
        assert gc.is_tracked(failed)
        await handle


async def test_a_circle_of_a_pending_handle_is_collected() -> None:
    class Owner:
        pass

    def ring() -> "weakref.ref[Owner]":
        owner = Owner()
        owner.handle = sleep(0.001).__await__()  # type: ignore[attr-defined]
        owner.handle.add_done_callback(lambda _: owner)  # type: ignore[attr-defined]
        return weakref.ref(owner)

    ref = ring()
    await asyncio.sleep(0.02)  # it has ended: what it was to call is let go of
    gc.collect()
    assert ref() is None
