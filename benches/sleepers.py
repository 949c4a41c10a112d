"""One contestant of the `timers` suite, alone in its process: starts many sleepers and prints their cost as JSON."""

import argparse
import asyncio
import gc
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

from benches.loops import LOOPS
from benches.memory import PAGE, resident
from benches.peers import rust_peer
from mountain_runtime import Runtime
from mountain_runtime._native import trial_sleep as sleep

Start = Callable[[float], Awaitable[object]]

#: Long enough that no sleeper ends before the last one has started and all are weighed.
WEIGHED_SECONDS = 600.0
#: The clock is read once for so many sleepers: a reading for each would be a part of its price.
CHUNK = 500


@asynccontextmanager
async def starter(name: str) -> AsyncGenerator[Start, None]:
    """How the named contestant starts a sleeper: at once, with something to await in return."""
    if name == "ours":
        async with Runtime() as runtime:
            yield lambda seconds: runtime.submit(sleep(seconds))
    elif name == "asyncio":
        loop = asyncio.get_running_loop()
        yield lambda seconds: loop.create_task(asyncio.sleep(seconds))
    else:
        yield rust_peer().sleep


def started(start: Start, seconds: float, sleepers: list[Awaitable[object]]) -> list[float]:
    """Fills `sleepers`, whose room is there already; returns when each chunk began."""
    began: list[float] = []
    for first in range(0, len(sleepers), CHUNK):
        began.append(perf_counter())
        sleepers[first : first + CHUNK] = [start(seconds) for _ in range(min(CHUNK, len(sleepers) - first))]
    return began


async def weigh(start: Start, count: int) -> dict[str, float]:
    """The bytes by which each sleeper makes the process larger, once all of them are asleep."""
    sleepers: list[Awaitable[object]] = [_nobody()] * count
    gc.collect()
    before = resident()
    started(start, WEIGHED_SECONDS, sleepers)
    await asyncio.sleep(0.1)
    gc.collect()
    return {"bytes": max(resident() - before, PAGE) / count}


async def end(start: Start, count: int, seconds: float) -> dict[str, float]:
    """Microseconds a start, and by how many seconds the latest of all ends was late for its waiter."""
    sleepers: list[Awaitable[object]] = [_nobody()] * count
    gc.collect()
    begin = perf_counter()
    began = started(start, seconds, sleepers)
    submitted = perf_counter() - begin
    latest, ended = 0.0, 0
    for number, sleeper in enumerate(sleepers):
        await sleeper  # they end in the order in which they began: one that has ended costs no turn of the loop
        latest = max(latest, perf_counter() - began[number // CHUNK] - seconds)
        ended += 1
    return {"submit": submitted / count * 1e6, "lateness": latest, "ended": ended}


def _nobody() -> Awaitable[object]:
    """A place in the list that a sleeper will take."""
    return asyncio.get_running_loop().create_future()


async def main(name: str, what: str, count: int, seconds: float) -> None:
    """Warms the contestant up, runs it, and prints its figures."""
    async with starter(name) as start:
        for sleeper in [start(0.01) for _ in range(100)]:
            await sleeper
        if what == "end":
            print(json.dumps(await end(start, count, seconds)), flush=True)
            return
        print(json.dumps(await weigh(start, count)), flush=True)
        os._exit(0)  # the sleepers would go on for minutes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=["ours", "asyncio", "pyo3-async-runtimes"])
    parser.add_argument("what", choices=["weigh", "end"])
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=LOOPS[chosen.loop]()) as runner:
        runner.run(main(chosen.contestant, chosen.what, chosen.count, chosen.seconds))
