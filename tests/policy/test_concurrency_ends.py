"""A place in a limit always comes back: from who is cancelled, late, failed, on a thread, or on a closed loop."""

import asyncio
import gc
import threading
import time
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Retry, Timeout, _native, blocking, constant, deadline, effect
from mountain_runtime.errors import TimedOut
from tests.conftest import LoopFactory

from .room import Room, cancelled, counts, tick, until
from .support import AT_ONCE, LONG, SOON, Boom, Stop, Watch, forever


@pytest.mark.parametrize("error", [Boom, Stop, asyncio.CancelledError])
async def test_a_failed_call_gives_its_place_back(error: type[BaseException]) -> None:
    limit = ConcurrencyLimit(1)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    for _ in range(3):
        with pytest.raises(error):
            await limit.call(fails)
        assert counts(limit) == (0, 0)


async def test_a_call_that_begins_and_fails_at_once_gives_it_back() -> None:
    limit = ConcurrencyLimit(1)

    def no_coroutine() -> Any:
        raise Boom

    for _ in range(3):
        with pytest.raises(Boom):
            await limit.call(no_coroutine)
    assert counts(limit) == (0, 0)


async def test_a_cancelled_call_keeps_its_place_until_its_cleanup_has_ended() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    cleaned = asyncio.Event()

    @effect(limit)
    async def cleans_up() -> None:
        try:
            await forever()
        finally:
            await cleaned.wait()

    task = asyncio.create_task(cleans_up())
    await tick()
    waiter = asyncio.create_task(limit.call(room.passes, "next"))
    await tick()
    task.cancel()
    await tick(10)
    assert (room.came, counts(limit)) == ([], (1, 1))
    cleaned.set()
    await asyncio.wait([task, waiter])
    assert task.cancelled()
    assert (room.came, counts(limit)) == (["next"], (0, 0))


async def test_so_does_one_that_ran_out_of_time() -> None:
    limit = ConcurrencyLimit(1)
    seen: list[tuple[int, int]] = []

    @effect(limit, Timeout(SOON))
    async def cleans_up() -> None:
        try:
            await forever()
        finally:
            await tick(10)
            seen.append(counts(limit))

    with pytest.raises(TimedOut):
        await cleans_up()
    assert seen == [(1, 0)]
    assert counts(limit) == (0, 0)


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    tasks = [asyncio.create_task(limit.call(room.stays, who)) for who in range(5)]
    await tick()
    for task in tasks[1:4]:
        await cancelled(task)
    assert counts(limit) == (1, 1)
    room.doors.set()
    await asyncio.wait(tasks)
    assert room.came == [0, 4]
    assert counts(limit) == (0, 0)


@pytest.mark.parametrize("seed", range(2))
async def test_cancelled_at_the_grant_ten_thousand_times(seed: int) -> None:
    """T2: the place comes back in the very tick in which its next owner is cancelled, before or after the grant."""
    limit = ConcurrencyLimit(1)
    got = 0

    async def waits() -> None:
        nonlocal got
        await limit.call(asyncio.sleep, 0)
        got += 1

    for n in range(5_000):
        door: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        holder = asyncio.create_task(limit.call(asyncio.wait_for, door, None))
        await asyncio.sleep(0)
        waiter = asyncio.create_task(waits())
        await asyncio.sleep(0)
        assert counts(limit) == (1, 1)
        door.set_result(None)
        for _ in range((n + seed) % 7):
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([holder, waiter])
        assert counts(limit) == (0, 0)
    assert 0 < got < 5_000  # some were too late for the cancel


# -- time -----------------------------------------------------------------------------------------------------------


async def test_a_limit_of_time_outside_covers_the_waiting() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    holder = asyncio.create_task(limit.call(room.stays))
    await tick()
    with Watch() as watch, pytest.raises(TimedOut) as late:
        await effect(Timeout(SOON), limit, name="late")(room.passes)("late")
    assert SOON <= watch.took < AT_ONCE
    assert (late.value.effect, late.value.policy) == ("late", f"Timeout({SOON})")
    assert "not started" in str(late.value)
    with pytest.raises(TimedOut):
        async with deadline(SOON):
            await limit.call(room.passes, "late")
    assert counts(limit) == (1, 0)
    room.doors.set()
    await holder
    assert room.came == [None]


async def test_a_limit_of_time_inside_does_not() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    holder = asyncio.create_task(limit.call(room.stays))
    await tick()
    waiter = asyncio.create_task(effect(limit, Timeout(SOON))(room.passes)("patient"))
    await asyncio.sleep(3 * SOON)  # its limit must pass, if it runs
    assert counts(limit) == (1, 1)
    room.doors.set()
    assert await waiter == "patient"
    await holder


async def test_a_waiter_that_is_past_its_time_is_passed_over() -> None:
    """Its loop is late as well: it cannot say so itself, and the place goes to the next, on another loop."""
    limit = ConcurrencyLimit(1)
    began, granted = threading.Event(), threading.Event()
    late = effect(Timeout(10 * SOON), limit, name="late")  # another thread begins to wait before it passes

    def elsewhere() -> None:
        async def main() -> None:
            await limit.call(asyncio.sleep, 0)
            granted.set()

        asyncio.run(main())

    async with limit.slot():
        ran: list[int] = []

        async def runs() -> None:
            ran.append(1)

        waiter = asyncio.create_task(late(runs)())
        await tick()
        assert counts(limit) == (1, 1)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await until(lambda: counts(limit) == (1, 2))
        began.set()
        time.sleep(11 * SOON)  # the waiter's time passes while this loop does nothing
    assert granted.wait(AT_ONCE)
    with pytest.raises(TimedOut):
        await waiter
    thread.join()
    assert ran == []
    assert counts(limit) == (0, 0)


# -- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["timeout inside", "timeout outside", "cancel"])
async def test_a_blocking_function_keeps_its_place_until_its_thread_has_ended(way: str) -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    go, entered = threading.Event(), threading.Event()

    def blocks() -> None:
        entered.set()
        go.wait(LONG)

    policies = {"timeout inside": [limit, Timeout(SOON)], "timeout outside": [Timeout(SOON), limit], "cancel": [limit]}
    task = asyncio.create_task(blocking(*policies[way])(blocks)())
    await until(entered.is_set)
    if way == "cancel":
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() if way == "cancel" else isinstance(task.exception(), TimedOut)
    waiter = asyncio.create_task(limit.call(room.passes, "next"))
    await tick(10)
    assert (room.came, counts(limit)) == ([], (1, 1))
    assert _native.statistics()["abandoned_threads"] == 1
    go.set()
    await waiter
    assert counts(limit) == (0, 0)
    await until(lambda: not _native.statistics()["abandoned_threads"])


async def test_a_blocking_function_that_had_not_begun_gives_it_back_at_once() -> None:
    limit = ConcurrencyLimit(1)
    fast = blocking(limit)(int)
    for n in range(200):
        task = asyncio.create_task(fast())
        for _ in range(n % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: counts(limit) == (0, 0))
    assert await fast() == 0


async def test_each_attempt_on_a_thread_has_a_place_of_its_own() -> None:
    """A thread that was left behind holds one: the next attempt waits for it, where there is no other."""
    limit = ConcurrencyLimit(1)
    log: list[str] = []

    @blocking(Retry(on=Boom, attempts=2, backoff=constant(0)), limit, Timeout(SOON))
    def slow_at_first() -> str:
        log.append("in")
        if len(log) == 1:
            time.sleep(4 * SOON)  # a thread cannot be stopped: it has to be late
            log.append("out")
        return "done"

    assert await slow_at_first() == "done"
    assert log == ["in", "out", "in"]
    await until(lambda: counts(limit) == (0, 0))


# -- loops ----------------------------------------------------------------------------------------------------------

module_level = ConcurrencyLimit(2, name="module-level")


def test_one_limit_serves_two_runs_and_two_threads(new_loop: LoopFactory) -> None:
    """L4: one shared state, whichever loop it is first used on."""
    inside, most = 0, 0
    lock = threading.Lock()

    @effect(module_level)
    async def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        await asyncio.sleep(0.0002)  # so that the other loop comes to run
        with lock:
            inside -= 1

    async def slots() -> None:
        async with module_level.slot():
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*[work() for _ in range(50)], *[slots() for _ in range(50)])

    def thread() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            for _ in range(3):
                runner.run(main())

    thread()
    thread()
    threads = [threading.Thread(target=thread) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 2
    assert counts(module_level) == (0, 0)


def test_who_waits_on_a_loop_that_is_closed_is_passed_over(new_loop: LoopFactory) -> None:
    """The place goes on to a waiter elsewhere, whatever its kind; and places held there come back."""
    limit = ConcurrencyLimit(1)

    async def in_slot() -> None:
        async with limit.slot():
            await asyncio.sleep(0)

    def abandon(*works: Any) -> list[Any]:
        loop = new_loop()
        tasks = [loop.create_task(work) for work in works]
        loop.run_until_complete(asyncio.sleep(0.002))  # native work needs a moment to be queued
        loop.close()
        return tasks

    async def main() -> None:
        await asyncio.wait_for(limit.call(asyncio.sleep, 0), AT_ONCE)

    with asyncio.Runner() as runner:
        slot = limit.slot()
        runner.run(slot.__aenter__())
        left = abandon(limit.call(forever), in_slot(), _native.trial_noop(1).under(limit))
        waiter = runner.get_loop().create_task(main())
        runner.run(tick())
        runner.run(slot.__aexit__(None, None, None))
        runner.run(asyncio.wait_for(waiter, AT_ONCE))
        assert counts(limit) == (0, 0)
    for task in left:
        task._log_destroy_pending = False


def test_what_was_at_work_on_a_loop_that_is_closed_gives_its_place_back_when_it_is_collected(
    new_loop: LoopFactory,
) -> None:
    limit = ConcurrencyLimit(2)

    async def in_slot() -> None:
        async with limit.slot():
            await forever()

    loop = new_loop()
    tasks = [loop.create_task(work) for work in (limit.call(forever), in_slot())]
    loop.run_until_complete(tick())
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert counts(limit) == (2, 0)
    del task, tasks
    gc.collect()
    assert counts(limit) == (0, 0)
