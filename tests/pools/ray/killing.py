"""Workers on Ray that are killed at random moments under load."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from mountain_runtime.errors import WorkerLost

__all__ = ["alive", "gone", "kills"]


def alive(pid: int) -> bool:
    """A process that is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(*pids: int) -> bool:
    for _ in range(1000):
        if not any(map(alive, pids)):
            return True
        await asyncio.sleep(0.02)  # real: the system ends them
    return False


async def kills(marks: Path, times: int, seed: int, calls: int = 16) -> Counter[str]:
    """So many kills while calls come. Each call ends, none has run twice, and nothing is left."""
    from . import attacked

    by_chance = random.Random(seed)
    ends: Counter[str] = Counter()
    done = 0

    async def call(of: int) -> None:
        number = 0
        while done < times:
            number += 1
            name = f"{of}.{number}"
            slow = by_chance.random() < 0.1
            try:
                assert await attacked.marks(str(marks), name, 0.01 if slow else 0.0) == name
                ends["value"] += 1
            except WorkerLost:
                ends["lost"] += 1

    before = attacked.killed.statistics().lost
    pids: set[int] = set()
    async with attacked.killed:
        running = [asyncio.ensure_future(call(of)) for of in range(calls)]
        engine: Any = attacked.killed._engine
        while done < times:
            await asyncio.sleep(by_chance.random() * 0.3)  # real: the moments are the case
            members = [each.pid for each in engine.members if each.ready and each.pid not in pids]
            if members:
                victim = by_chance.choice(members)
                pids.add(victim)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                done += 1
        await asyncio.gather(*running)
        assert await marks_again(marks) == "last"
        pids |= {each.pid for each in engine.members if each.pid}
        for _ in range(1000):
            if attacked.killed.statistics().lost - before == times:
                break
            await asyncio.sleep(0.02)  # real: Ray hears of the last one
        assert attacked.killed.statistics().lost - before == times
    ran = Counter(marks.read_text().split())
    assert [name for name, runs in ran.items() if runs > 1] == []
    assert len(ran) <= ends["value"] + ends["lost"] + 1
    assert await gone(*pids)
    return ends


async def marks_again(marks: Path) -> str:
    """A call after the kills: one worker is back."""
    from . import attacked

    for _ in range(20):
        with contextlib.suppress(WorkerLost):  # the last victim had it
            return await attacked.marks(str(marks), "last")
    raise AssertionError("no call came through")
