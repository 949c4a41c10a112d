"""Workers that are killed at random moments under load: each call ends, each ran once at most, nothing is left."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from mountain_runtime import Timeout
from mountain_runtime.errors import WorkerLost
from tests.pools import work

KILLS = 200
CANCELS = 10_000


def left() -> list[str]:
    """The memory files and links that this process has open."""
    names = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return [name for name in names if "memfd:mountain" in name]


@pytest.mark.timeout(600)
async def test_killed_workers_lose_what_they_had_begun_and_no_more(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    by_chance = random.Random(1)
    ends: Counter[str] = Counter()
    kills = 0

    async def calls(of: int) -> None:
        number = 0
        while kills < KILLS:
            number += 1
            name = f"{of}.{number}"
            slow = by_chance.random() < 0.1
            try:
                assert await work.marks(str(marks), name, 0.01 if slow else 0.0) == name
                ends["value"] += 1
            except WorkerLost:
                ends["lost"] += 1

    async with work.two:
        running = [asyncio.ensure_future(calls(of)) for of in range(64)]
        seen: set[int] = set()
        while kills < KILLS:
            await asyncio.sleep(by_chance.random() * 0.1)  # real: the moments are the case
            manager = work.two._engine
            assert manager is not None
            members = [member for member in manager.members if member.ready]
            if members:
                pid = by_chance.choice(members).pid
                seen.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                kills += 1
        await asyncio.gather(*running)
        pids = seen | {member.pid for member in manager.members}
    ran = Counter(marks.read_text().split())
    assert [name for name, times in ran.items() if times > 1] == []
    assert len(ran) <= ends["value"] + ends["lost"]
    assert ends["value"] > ends["lost"] > 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert left() == []


@pytest.mark.timeout(600)
async def test_cancelled_calls_have_ended_when_their_cancel_has(tmp_path: Path) -> None:
    """D1: nothing runs on after the cancel is acknowledged."""
    by_chance = random.Random(2)
    async with work.two:
        for number in range(CANCELS):
            path = tmp_path / "marks"
            call = asyncio.ensure_future(work.marks(str(path), str(number), 0.004))
            await asyncio.sleep(by_chance.random() * 0.005)  # real: the moments are the case
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            assert work.two.statistics().running == 0
            if number % 500 == 0:
                assert await work.marks(str(path), "x").under(Timeout(5)) == "x"
    assert left() == []
