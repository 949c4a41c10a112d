"""Schedulers, and the cost of their queues: priorities, a million queued effects, a million keys.

Queued work, under `max_in_flight`, and keys are weighed in a fresh process for each contestant (`benches/queued.py`).
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from time import perf_counter

from benches.harness import OURS, Contest, Extra, Measure, Sample, Samples, Scale, figures, optional
from mountain_runtime import ConcurrencyLimit, Priority, effect, priority

CASES: Mapping[str, tuple[str, ...]] = {
    "priority-p99": ("fifo",),
    "admission": ("create_task",),
    "memory": ("create_task",),
    "keys": ("aiolimiter",),
}

ROOT = Path(__file__).resolve().parents[2]

PERMITS = 10
#: A High call comes so often, in seconds.
EVERY = 0.001


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The four cases; admission and memory are one contest."""
    yield _priorities(scale)
    yield _queue(scale, loop)
    yield _keys(scale, loop)


# -- priorities -----------------------------------------------------------------------------------------------------


def _priorities(scale: Scale) -> Contest:
    """The peer is the same limit with everything at one priority: first come, first served."""
    low = scale.pick(full=100_000, quick=100_000, tiny=500)
    high = scale.pick(full=200, quick=200, tiny=10)
    turns = {
        OURS: partial(_overtaking, Priority.HIGH, low, high),
        "fifo": partial(_overtaking, Priority.LOW, low, high),
    }
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, (low, high), (Measure("priority-p99", "ms"),))


async def _overtaking(urgent: Priority, low: int, high: int) -> Sample:
    """Milliseconds in which 99 of 100 urgent calls have begun that come, one after another, when so many Low ones wait
    and begin to go."""
    limit = ConcurrencyLimit(PERMITS, max_waiting=None)
    waits: list[float] = []

    @effect(limit)
    async def work() -> None:
        await asyncio.sleep(0)

    @effect(limit)
    async def hurry(came: float) -> None:
        waits.append((perf_counter() - came) * 1000)
        await asyncio.sleep(0)

    async def one() -> int:
        await work()
        return 1

    async def come() -> int:
        await hurry(perf_counter())
        return 1

    async with AsyncExitStack() as taken:
        for _ in range(PERMITS):
            await taken.enter_async_context(limit.slot())
        with priority(Priority.LOW):
            queue = [asyncio.create_task(one()) for _ in range(low)]
        while limit.statistics().waiting[Priority.LOW] < low:
            await asyncio.sleep(0)
    calls: list[asyncio.Task[int]] = []
    for _ in range(high):
        with priority(urgent):
            calls.append(asyncio.create_task(come()))
        await asyncio.sleep(EVERY)
    answer = (sum(await asyncio.gather(*queue)), sum(await asyncio.gather(*calls)))
    return Sample((sorted(waits)[high * 99 // 100 - 1],), answer)


# -- in processes of their own --------------------------------------------------------------------------------------


def _queue(scale: Scale, loop: str) -> Contest:
    count = scale.pick(full=1_000_000, quick=200_000, tiny=500)
    turns = {name: partial(_queued, name, loop, count) for name in (OURS, "create_task")}
    measures = (Measure("admission", "us"), Measure("memory", "bytes", figure=1))
    through = _beside("admission", "create_task, until all have ended", "us", "create_task", 2)
    return Contest(scale.pick(full=3, quick=2, tiny=1), turns, True, measures, (through,), warm_ups=0)


async def _queued(name: str, loop: str, count: int) -> Sample:
    found = await _process(name, "queue", loop, count)
    return Sample((found["admission"], found["bytes"], found["admission"] + found["end"]), found["right"])


def _keys(scale: Scale, loop: str) -> Contest:
    """Each key is asked for once; ours then waits until none need be remembered."""
    count = scale.pick(full=1_000_000, quick=200_000, tiny=500)
    idle = scale.pick(full=4000, quick=2000, tiny=200) / 1000
    names = (OURS, "aiolimiter") if optional("aiolimiter") else (OURS,)
    turns = {name: partial(_touched, name, loop, count, idle) for name in names}
    extras = (
        _beside("keys", "aiolimiter, a first call", "us", "aiolimiter", 1),
        _beside("keys", "aiolimiter, left when idle", "keys", "aiolimiter", 2, least=1.0),
    )
    return Contest(scale.pick(full=3, quick=1, tiny=1), turns, True, (Measure("keys", "bytes"),), extras, warm_ups=0)


async def _touched(name: str, loop: str, count: int, idle: float) -> Sample:
    found = await _process(name, "touch", loop, count, "--idle", str(idle))
    return Sample((found["bytes"], found["touch"], found["left"]), found["right"])


def _beside(case: str, label: str, unit: str, peer: str, which: int, least: float = 0.0) -> Extra:
    """Another figure of the same contest."""
    mine, theirs = partial(_figures, OURS, which), partial(_figures, peer, which)
    return Extra(case, label, unit, mine, theirs, needs=(peer,), resolution=least)


def _figures(name: str, which: int, samples: Samples) -> list[float]:
    return figures(samples[name], which)


async def _process(name: str, what: str, loop: str, count: int, *more: str) -> dict[str, float]:
    options = ("--loop", loop, "--count", str(count), *more)
    argv = (sys.executable, "-m", "benches.queued", name, what, *options)
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}")
    answer: dict[str, float] = json.loads(out)
    return answer
