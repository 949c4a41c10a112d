"""Workers in odd states, and what becomes of their calls and of the processes around them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from mountain_runtime import Timeout
from mountain_runtime.errors import TimedOut, WorkerLost

from . import work

pytestmark = pytest.mark.processes


def alive(pid: int) -> bool:
    """A process that is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(*pids: int) -> bool:
    for _ in range(200):
        if not any(map(alive, pids)):
            return True
        await asyncio.sleep(0.02)  # real: the system ends them
    return False


async def test_a_worker_that_is_stopped_is_ended_with_its_limit() -> None:
    await work.sleeps(0)  # the worker is there: one that stops with no call has no limit
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await work.stops_itself()
    assert time.monotonic() - began < 5
    assert await work.sleeps(0) != os.getpid()


async def test_a_function_that_holds_the_interpreter_is_ended_with_its_limit() -> None:
    before = await work.waits(0)
    began = time.monotonic()
    with pytest.raises(TimedOut):
        await work.holds_the_interpreter(20).under(Timeout(0.2))
    assert time.monotonic() - began < 5
    assert await work.waits(0) != before


async def test_what_a_worker_has_started_ends_with_it() -> None:
    children = [await work.forks() for _ in range(3)]
    assert all(map(alive, children))
    await work.two._close(5)
    assert await gone(*children)


async def test_memory_goes_back_when_a_worker_is_idle() -> None:
    """W4."""
    before = await work.resident()
    assert len(await work.million()) == 1_000_000
    for _ in range(60):
        if await work.resident() < before + (60 << 20):
            return
        await asyncio.sleep(1.2)  # real: it is idle for so long
    pytest.fail("the worker keeps it")


@pytest.mark.parametrize("how", ["cancel", "twice", "scope", "wait_for", "timeout"])
async def test_each_way_to_cancel_waits_for_the_cleanup(how: str, tmp_path: Path) -> None:
    await work.waits(0)  # the worker is there
    begun = 0
    for number in range(20):
        path = tmp_path / str(number)
        call = work.waits(30, str(path))
        moment = 0.05 if number % 2 else number * 0.0005
        if how == "scope":
            with anyio.move_on_after(moment):
                await call
        elif how in ("wait_for", "timeout"):
            with pytest.raises(TimeoutError):
                if how == "wait_for":
                    await asyncio.wait_for(call, moment)
                else:
                    async with asyncio.timeout(moment):
                        await call
        else:
            task = asyncio.ensure_future(call)
            await asyncio.sleep(moment)  # real: so that it is somewhere on its way
            task.cancel()
            if how == "twice":
                await asyncio.sleep(0)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert work.one.statistics().running == 0
        if path.exists():
            assert path.read_text() == "cleaned"
            begun += 1
    assert begun


@pytest.mark.parametrize("times", [300])
async def test_a_value_that_arrives_with_the_cancel_harms_nothing(times: int) -> None:
    ended = 0
    for number in range(times):
        task = asyncio.ensure_future(work.add(number))
        for _ in range(number % 7):
            await asyncio.sleep(0.0001)  # real: the answer is on its way
        task.cancel()
        try:
            assert await task == number + 1
            ended += 1
        except asyncio.CancelledError:
            pass
        assert work.one.statistics().running == 0
    assert await work.add(1) == 2
    assert ended < times


PROGRAM = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from tests.pools import work

async def main():
    calls = [asyncio.ensure_future(work.marks({path!r}, str(n), 0.5)) for n in range(9)]
    calls += [asyncio.ensure_future(work.waits(60))]
    while not (work.one._engine and work.one._engine.members and work.one._engine.members[0].ready):
        await asyncio.sleep(0.01)
    print(*[m.pid for pool in (work.one, work.two) for m in pool._engine.members], flush=True)
    await asyncio.gather(*calls)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_workers_end_with_their_program(number: signal.Signals, tmp_path: Path) -> None:
    """W7: and no call that waited begins then."""
    root = str(Path(__file__).resolve().parents[2])
    path, program = tmp_path / "marks", tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=root, path=str(path)))
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(parent.stdout.readline)).split()]
        assert len(pids) >= 2
        parent.send_signal(number)
        await asyncio.to_thread(parent.wait)
    assert await gone(*pids)
    marked = path.read_text().split() if path.exists() else []
    assert len(marked) <= 4
    assert len(set(marked)) == len(marked)


async def test_a_call_of_a_worker_that_its_pool_ends_is_lost() -> None:
    pool = work.two
    await work.sleeps(0)
    assert pool._engine is not None
    member = pool._engine.members[0]
    call = asyncio.ensure_future(work.sleeps(5))
    await asyncio.sleep(0.05)  # real: so that it is at work
    victim = next(m for m in pool._engine.members if m.sent)
    pool._engine._loop.call_soon_threadsafe(pool._engine._kill, victim, "it was ended")
    with pytest.raises(WorkerLost, match="it was ended"):
        await call
    assert await work.sleeps(0) != member.pid or victim is not member
