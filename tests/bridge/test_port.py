"""The port: a loop's queue of native completions. It starves no task, and loses no message."""

import asyncio
import errno
import gc
import threading
import time
from pathlib import Path

import pytest

from mountain_runtime import Retry, Timeout, blocking, effect, gather
from mountain_runtime._native import statistics
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_panic as panic
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime._native import trial_tick as tick
from mountain_runtime.errors import InternalError
from tests.effect.support import LONG, Boom, heartbeat, ticks, value


async def test_sequential_and_many_at_once() -> None:
    for n in range(500):
        assert await noop(n) == n
    tasks = [asyncio.ensure_future(noop(n)) for n in range(2000)]
    assert await asyncio.gather(*tasks) == list(range(2000))


async def test_sustained_work_with_a_bound() -> None:
    left = 5000
    done = 0

    async def worker() -> None:
        nonlocal left, done
        while left > 0:
            left -= 1
            answer = await noop(1)
            done += answer

    await asyncio.gather(*(worker() for _ in range(64)))
    assert done == 5000


async def test_a_flood_does_not_starve_the_loop() -> None:
    """B10: 20,000 completions, each with a callback in Python; the loop's timers get their turn in between."""

    async def flood() -> None:
        for _ in range(4):
            # One group would cross as one answer: these are 5,000 answers, in the port at once.
            handles = [noop(1).__await__() for _ in range(5000)]
            time.sleep(0.01)  # all have answered before the loop looks
            assert sum(await asyncio.gather(*handles)) == 5000  # type: ignore[arg-type]

    async def taken_singly() -> int:
        handles = [noop(1).__await__() for _ in range(5000)]
        seen = 0

        def called(_: object) -> None:
            nonlocal seen
            seen += 1
            time.sleep(0.00001)  # some work of the program's own

        for handle in handles:
            handle.add_done_callback(called)  # type: ignore[attr-defined]
        while seen < 5000:
            await asyncio.sleep(0.001)  # a timer, to show that timers fire
        return seen

    assert await taken_singly() == 5000
    await flood()
    async with heartbeat() as gaps:

        async def task() -> None:
            for _ in range(40):
                await noop()

        await asyncio.gather(*(task() for _ in range(500)))
    # The aim is 50 ms; five times that is far from a flood that is drained in one go (half a second) on any machine.
    assert max(gaps) < 0.25
    assert len(gaps) >= 3


async def test_callbacks_that_start_more_from_many_threads() -> None:
    """B10: sixteen threads, each re-entering from a callback of its own loop, all at once."""
    totals: list[int] = []

    def thread() -> None:
        async def main() -> int:
            total = 0
            for _ in range(10):
                total += sum(await gather([noop(1).then(noop).map(abs) for _ in range(10)]))
            return total

        totals.append(asyncio.run(main()))

    threads = [threading.Thread(target=thread) for _ in range(16)]
    async with heartbeat() as gaps:
        for each in threads:
            each.start()
        while any(each.is_alive() for each in threads):
            await asyncio.sleep(0.005)  # nothing here to await
    assert totals == [100] * 16
    # Sixteen threads take turns at the interpreter; a loop that hangs is another matter.
    # Without an interpreter lock they may end before a first beat.
    assert max(gaps, default=0) < 1


async def test_another_thread_that_computes_does_not_hold_answers_up() -> None:
    stop = False

    def computes() -> None:
        n = 0
        while not stop:
            n += 1

    thread = threading.Thread(target=computes)
    thread.start()
    try:
        took = []
        for _ in range(50):
            begin = time.perf_counter()
            await noop()
            took.append(time.perf_counter() - begin)
    finally:
        stop = True
        thread.join()
    assert sorted(took)[25] < 0.1


async def test_a_panic_is_a_typed_error_and_the_next_effect_works() -> None:
    """B14"""
    begin = time.perf_counter()
    for work in (panic(), panic().under(Timeout(LONG)), gather([noop(), panic()]), panic().map(str)):
        with pytest.raises(InternalError):
            await work
        assert await noop(1) == 1
    with pytest.raises(InternalError):
        await panic().under(Retry(on=Boom, attempts=3))
    assert time.perf_counter() - begin < 5  # a backtrace takes milliseconds


async def test_native_errors_are_the_builtin_ones() -> None:
    for number, kind in ((errno.ENOENT, FileNotFoundError), (errno.EACCES, PermissionError), (errno.EIO, OSError)):
        with pytest.raises(kind) as caught:
            await fail(number)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == number


async def test_native_work_ends_with_its_caller(tmp_path: Path) -> None:
    """B2: it ticks to a file; its caller's time is up; no tick after that."""
    path = tmp_path / "ticks"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tick(str(path), 0.02), 0.1)
    ticked = path.stat().st_size
    assert ticked >= 1
    await asyncio.sleep(0.06)  # three ticks' time
    assert path.stat().st_size == ticked


async def test_what_is_dropped_is_dropped_the_same_way_each_time(loop_complaints: list[str]) -> None:
    """B3: a started effect whose handle is dropped goes on to its end; its result is dropped without a report."""
    gc.collect()
    before = statistics()["running"]  # of tests that left a loop with calls in flight
    for _ in range(100):
        iterator = sleep(0).__await__()
        next(iterator)
        del iterator
        failing = fail(errno.EIO).__await__()
        next(failing)
        del failing
        gc.collect(0)
    for _ in range(200):
        if statistics()["running"] <= before:
            break
        await asyncio.sleep(0.005)  # it ends on other threads
    assert statistics()["running"] <= before
    gc.collect()
    assert loop_complaints == []


async def test_cancel_in_the_tick_of_completion(loop_complaints: list[str]) -> None:
    """B1, second half: the answer is in the port already when the task is cancelled."""
    for _ in range(200):
        task = asyncio.ensure_future(noop(1))
        await asyncio.sleep(0)
        time.sleep(0.0001)  # until it has answered
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await ticks()
    gc.collect()
    assert loop_complaints == []


async def test_references_are_dropped_on_the_loops_thread() -> None:
    """The graveyard: whatever native code held, its finaliser runs on a Python thread that could have run it."""
    threads: set[str] = set()

    class Conn:
        def __del__(self) -> None:
            threads.add(threading.current_thread().name)

    for _ in range(20):
        conn = Conn()

        async def holds(conn: Conn = conn) -> None:
            await sleep(0.001)

        task = asyncio.ensure_future(effect(Timeout(LONG))(holds)())
        del conn, holds
        await task
        del task
    await blocking(lambda: None)()
    await noop()
    gc.collect()
    assert threads == {threading.main_thread().name}
    assert statistics()["graveyard"] == 0


async def test_gauges_come_back_to_nothing() -> None:
    gc.collect()
    before = statistics()["running"]  # of tests that left a loop with calls in flight
    tasks = [asyncio.ensure_future(sleep(LONG)) for _ in range(50)]
    await ticks()
    assert statistics()["timers"] >= 50
    assert 40 <= statistics()["running"] - before <= 50
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert statistics()["running"] <= before
    assert await effect(value)(1) == 1
