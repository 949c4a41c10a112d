"""Virtual time on the loop: waits take no time, threads hold it still, and `advance` runs what falls due in order."""

import asyncio
import contextlib
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from mountain_runtime import Pipeline, Retry, Runtime, Shutdown, Timeout, blocking, constant, deadline, exponential
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import NO_TIME, Failing, Log, Real


async def test_an_hour_is_slept_in_no_time(virtual_clock: VirtualClock) -> None:
    assert virtual_clock.time() == 0.0
    loop_time = asyncio.get_running_loop().time()
    with Real() as real:
        await asyncio.sleep(3600)
    assert real.took < NO_TIME
    assert virtual_clock.time() == 3600.0
    assert asyncio.get_running_loop().time() - loop_time == pytest.approx(3600)


async def test_a_retry_backs_off_to_the_nanosecond(virtual_clock: VirtualClock) -> None:
    failing = Failing(3)
    policy = Retry(on=ConnectionError, attempts=4, backoff=exponential(1, max=60, jitter="none"))
    assert await policy.call(failing) == "up"
    assert (failing.calls, virtual_clock.time()) == (4, 7.0)


async def test_a_total_ends_retries_without_end(virtual_clock: VirtualClock) -> None:
    policy = Pipeline(Timeout(5), Retry(on=ConnectionError, attempts=None, backoff=constant(2)), name="t")
    with pytest.raises(ConnectionError):
        await policy.call(Failing(math.inf))
    assert virtual_clock.time() == 4.0  # the next attempt would come too late


async def test_an_hour_of_retries_takes_no_time(virtual_clock: VirtualClock) -> None:
    failing = Failing(3600)
    with Real() as real:
        assert await Retry(on=ConnectionError, attempts=None, backoff=constant(1)).call(failing) == "up"
    assert real.took < NO_TIME
    assert (failing.calls, virtual_clock.time()) == (3601, 3600.0)


async def test_every_limit_knows_the_time(virtual_clock: VirtualClock) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimedOut):
        await Timeout(5).call(forever)
    assert virtual_clock.time() == 5.0
    with pytest.raises(TimedOut):
        async with deadline(5):
            await forever()
    assert virtual_clock.time() == 10.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await forever()
    assert virtual_clock.time() == 10.1
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(forever(), 0.2)
    assert virtual_clock.time() == 10.3
    with anyio.move_on_after(5):
        await forever()
    assert virtual_clock.time() == 15.3


async def test_a_task_under_somebody_elses_deadline_ends_a_moment_after_it(virtual_clock: VirtualClock) -> None:
    async def work() -> None:
        await Timeout(60).call(asyncio.sleep, 3600)

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(deadline(100))
        task = asyncio.create_task(work())
        with pytest.raises(TimedOut):
            async with deadline(7):
                inner = asyncio.create_task(work())
                await asyncio.sleep(3600)
        with pytest.raises(TimedOut):
            await inner
        assert virtual_clock.time() == 7.01
        with pytest.raises(TimedOut):
            await task
    assert virtual_clock.time() == 60.0


# -- threads --------------------------------------------------------------------------------------------------------


@blocking(Timeout(1))
def slow(seconds: float) -> int:
    time.sleep(seconds)  # a thread's work is real
    return threading.get_ident()


async def test_a_thread_at_work_holds_time_still(virtual_clock: VirtualClock) -> None:
    sleeper = asyncio.create_task(asyncio.sleep(0.5))
    assert await slow(0.05) != threading.get_ident()
    async with asyncio.timeout(1):
        await asyncio.to_thread(time.sleep, 0.05)
    with ThreadPoolExecutor() as executor:
        async with asyncio.timeout(1):
            await asyncio.get_running_loop().run_in_executor(executor, time.sleep, 0.05)
    assert virtual_clock.time() == 0.0
    await sleeper
    assert virtual_clock.time() == 0.5


@pytest.mark.parametrize("on", ["blocking", "executor"])
async def test_who_waits_no_more_for_a_thread_is_not_held(virtual_clock: VirtualClock, on: str) -> None:
    release = threading.Event()
    waiting = blocking(release.wait)() if on == "blocking" else asyncio.to_thread(release.wait)
    task = asyncio.create_task(waiting)
    await asyncio.sleep(0)
    task.cancel()
    with Real() as real:
        await asyncio.sleep(100)
    assert (virtual_clock.time(), real.took < NO_TIME) == (100.0, True)
    release.set()


async def test_advance_overtakes_a_thread_that_hangs(virtual_clock: VirtualClock) -> None:
    release = threading.Event()
    hangs = asyncio.create_task(blocking(Timeout(5))(release.wait)())
    log = Log(virtual_clock)
    for second in range(1, 10):
        log.start(second, asyncio.sleep(second))
    with Real() as real:
        await virtual_clock.advance(10)
    assert 0.4 < real.took < 0.4 + NO_TIME  # it waited for the thread once
    assert log == [(float(second), second) for second in range(1, 10)]
    with pytest.raises(TimedOut):
        await hangs
    assert virtual_clock.time() == 10.0
    release.set()


async def test_it_needs_no_clock_of_pythons(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("monotonic", "perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: 5.0)
    release = threading.Event()
    hangs = asyncio.create_task(blocking(Timeout(5))(release.wait)())
    await virtual_clock.advance(10)
    with pytest.raises(TimedOut):
        await hangs
    await asyncio.sleep(10)
    assert virtual_clock.time() == 20.0
    release.set()


async def test_advance_waits_for_threads_that_get_somewhere(virtual_clock: VirtualClock) -> None:
    polls = Log(virtual_clock)

    async def poll() -> None:
        while True:
            await asyncio.sleep(60)
            await asyncio.to_thread(time.sleep, 0.001)
            await slow(0.001)
            polls.add("poll")

    polling = asyncio.create_task(poll())
    await virtual_clock.advance(600)
    assert polls == [(60.0 * n, "poll") for n in range(1, 11)]
    polling.cancel()


# -- advance --------------------------------------------------------------------------------------------------------


async def test_advance_wakes_in_order_of_time_and_ends_exactly(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)

    async def twice(wait: float) -> None:
        await asyncio.sleep(wait)
        log.add("first")
        await asyncio.sleep(wait)
        log.add("second")

    for wait in (3, 1, 2.25, 10, 7):
        log.start(wait, asyncio.sleep(wait))
    task = asyncio.create_task(twice(1.5))
    inline = log.start("retry", Retry(on=ConnectionError, backoff=constant(1.25)).call(Failing(2)))
    await virtual_clock.advance(7)
    assert virtual_clock.time() == 7.0
    assert log == [
        (1.0, 1),
        (1.5, "first"),
        (2.25, 2.25),
        (2.5, "retry"),
        (3.0, 3),
        (3.0, "second"),
        (7.0, 7),
    ]
    assert task.done()
    assert inline.done()
    await virtual_clock.advance(2.999999999)
    assert (virtual_clock.time(), len(log)) == (9.999999999, 7)
    await virtual_clock.advance(1e-9)
    assert log[-1] == (10.0, 10)


async def test_equal_instants_come_in_the_order_in_which_they_were_asked_for(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)
    for number in range(20):
        log.start(("sleep", number), asyncio.sleep(1))
        log.start(("retry", number), Retry(on=ConnectionError, backoff=constant(1)).call(Failing(1)))
    await virtual_clock.advance(1)
    assert [what for _, what in log if what[0] == "sleep"] == [("sleep", n) for n in range(20)]
    assert [what for _, what in log if what[0] == "retry"] == [("retry", n) for n in range(20)]
    assert {at for at, _ in log} == {1.0}
    assert [what[0] for _, what in log] == ["retry"] * 20 + ["sleep"] * 20  # the engine's come first


async def test_advance_by_nothing_runs_what_is_ready(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)

    async def steps() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    log.start("steps", steps())
    log.start("zero", asyncio.sleep(1e-12))
    log.start("later", asyncio.sleep(0.001))
    await virtual_clock.advance(0)
    assert sorted(log) == [(0.0, "steps"), (0.0, "zero")]


async def test_two_may_advance_at_once_and_one_may_give_up(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)
    log.start("late", virtual_clock.advance(9))
    log.start("early", virtual_clock.advance(4))
    gives_up = log.start("never", virtual_clock.advance(6))
    await virtual_clock.advance(5)
    gives_up.cancel()
    await virtual_clock.advance(10)
    assert log == [(4.0, "early"), (9.0, "late")]
    assert virtual_clock.time() == 15.0


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan, math.inf, 1e18])
async def test_advance_by_what_is_no_time(virtual_clock: VirtualClock, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds must be 0 or more"):
        await virtual_clock.advance(seconds)
    assert virtual_clock.time() == 0.0


# -- what is real ---------------------------------------------------------------------------------------------------


async def test_with_nothing_to_wait_for_it_neither_spins_nor_jumps(virtual_clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(math.inf, print)
    loop.call_later(1e12, print)
    future = loop.create_future()
    # Really a while: a loop that spun would use as much of the processor.
    thread = threading.Timer(0.3, lambda: loop.call_soon_threadsafe(future.set_result, "from outside"))
    thread.start()
    cpu = time.thread_time()
    assert await future == "from outside"
    assert time.thread_time() - cpu < 0.1
    assert virtual_clock.time() == 0.0
    thread.join()


async def test_events_that_are_there_come_before_a_jump(virtual_clock: VirtualClock) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"here")
        async with asyncio.timeout(1):
            assert await loop.sock_recv(ours, 9) == b"here"
        assert virtual_clock.time() == 0.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await loop.sock_recv(ours, 9)
        assert virtual_clock.time() == 1.0


async def test_a_shutdown_takes_virtual_time(virtual_clock: VirtualClock) -> None:
    runtime = Runtime(shutdown=Shutdown(deadline=25, drain=10))

    async def stuck() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(2)

    with Real() as real:
        async with runtime as rt:
            task = rt.submit(Pipeline(name="none").call(stuck))
            await asyncio.sleep(1)
    assert real.took < NO_TIME
    assert task.cancelled()
    assert virtual_clock.time() == pytest.approx(13, abs=1e-5)
