"""Workers on Ray that are killed, stopped, and held, and calls that are cancelled meanwhile."""

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import pools
from mountain_runtime.errors import NoWorkers, ShuttingDown, TimedOut, WorkerLost
from mountain_runtime.pools import _ray_engine, _ray_watch, _ray_workers

from . import killing
from .killing import gone

pytestmark = pytest.mark.ray


@pytest.fixture(name="on")
def attacked() -> Any:
    """The module with its functions, once the head is there."""
    from . import attacked

    return attacked


async def test_killed_workers_lose_what_they_had_and_no_more(tmp_path: Path) -> None:
    ends = await killing.kills(tmp_path / "marks", 3, seed=1)
    assert ends["value"] > ends["lost"] > 0


@pytest.mark.parametrize("how", ["stops_itself", "holds_the_interpreter", "stops_in_its_cleanup"])
async def test_a_worker_that_hears_nothing_is_ended_with_the_limit_of_its_call(
    on: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ray_engine, "_HEARS", 0.5)
    monkeypatch.setattr(_ray_workers, "_KILLED", 1.0)
    before = await on.pid()
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await (on.holds_the_interpreter(60) if how == "holds_the_interpreter" else getattr(on, how)())
    assert time.monotonic() - began < 20
    assert await on.pid() != before
    assert await gone(before)


async def test_calls_of_which_ray_says_nothing_are_lost_with_their_worker(
    on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the program ends its connection: what Ray had to say is dropped."""
    monkeypatch.setattr(_ray_workers, "_KILLED", 0.2)
    pid = await on.pid()
    monkeypatch.setattr(on.single._engine, "_come_back", lambda *_: None)
    calls = [asyncio.ensure_future(on.waits(60)) for _ in range(2)]
    await asyncio.sleep(0.2)  # real: they are at work
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [WorkerLost, WorkerLost]
    assert on.single.statistics().running == 0


async def test_values_that_arrive_with_the_cancel_harm_nothing(on: Any) -> None:
    by_chance = random.Random(3)
    await on.pid()
    before = on.single.statistics().lost
    large = os.urandom(1 << 20)
    for number in range(60):
        call = asyncio.ensure_future(on.takes(large if number % 3 else b"small"))
        await asyncio.sleep(by_chance.random() * 0.004)  # real: the moments are the case
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    assert on.single.statistics().running == 0
    assert on.single.statistics().lost == before
    assert await on.takes(b"x") == 1


async def test_the_cancel_of_a_large_call_that_a_small_one_overtakes_is_heard(on: Any) -> None:
    await on.pid()
    large = os.urandom(8 << 20)
    for _ in range(3):
        slow = asyncio.ensure_future(on.takes(large, 20))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(on.waits(0))
        await asyncio.sleep(0.002)  # real: both are on their way
        slow.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert time.monotonic() - began < 10
        await other


async def test_it_grows_while_calls_wait_and_shrinks_when_idle(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ray_watch, "IDLE", 0.5)
    monkeypatch.setattr(_ray_watch, "LOOKS", 0.2)
    lost = on.growing.statistics().lost
    await on.growing.__aenter__()
    assert on.growing.statistics().workers == 1
    pids = set(await asyncio.gather(*[on.sleeps(0.3) for _ in range(30)]))
    assert len(pids) == 3
    for _ in range(1000):
        if on.growing.statistics().workers == 1:
            break
        await asyncio.sleep(0.02)  # real: they are idle for so long
    statistics = on.growing.statistics()
    assert (statistics.workers, statistics.running, statistics.waiting, statistics.lost - lost) == (1, 0, 0, 0)
    left = await on.sleeps(0)
    assert left in pids
    assert await gone(*pids - {left})


async def test_two_pools_leave_one_connection_one_after_another(on: Any) -> None:
    import ray

    first, second = await asyncio.gather(on.pid(), on.sleeps(0))
    await on.single._close(10)
    assert ray.is_initialized()
    assert await on.sleeps(0) == second
    await asyncio.gather(on.growing._close(10), on.growing._close(10))
    assert not ray.is_initialized()
    assert await gone(first, second)
    assert await on.pid()  # a call starts it again


async def test_a_close_while_it_connects_is_at_once(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    for pool in (on.single, on.growing):
        await pool._close(10)
    gate = threading.Event()
    connects = ray.init

    def init(*arguments: Any, **named: Any) -> Any:
        gate.wait(60)
        return connects(*arguments, **named)

    monkeypatch.setattr(ray, "init", init)
    call = asyncio.ensure_future(on.pid())
    await asyncio.sleep(0.3)  # real: it has come to the connection
    began = time.monotonic()
    await on.single._close(10)
    assert time.monotonic() - began < 5
    with pytest.raises(ShuttingDown):
        await call
    gate.set()
    with pytest.raises(NoWorkers, match="no node has room"):  # it connects, once the first attempt has ended
        await on.empty.__aenter__()
    assert not ray.is_initialized()


async def test_threads_and_files_of_a_pool_end_with_it(on: Any, complaints: list[str]) -> None:
    async def counts(pool: pools.Ray) -> tuple[int, int]:
        with contextlib.suppress(NoWorkers):
            await pool.__aenter__()
        await pool._close(10)
        return len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir()))

    threads, files = await counts(on.empty)  # Ray keeps some from its first connection on
    for pool in (on.single, on.empty, on.empty):
        last = await counts(pool)
    assert last[0] <= threads + 4
    assert last[1] <= files + 8  # a socket of Ray's each time
    for _ in range(1000):
        if not (left := [each for each in threading.enumerate() if each.name.startswith("mountain-")]):
            break
        await asyncio.sleep(0.005)  # real: one that was told to end does so a moment later
    assert not left
    assert complaints == []
