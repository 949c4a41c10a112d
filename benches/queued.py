"""A contestant of the `scheduler` suite, alone in its process: queues work or touches keys, and prints what it cost."""

import argparse
import asyncio
import gc
import importlib
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from time import perf_counter
from typing import Any

from benches.loops import LOOPS
from benches.memory import PAGE, resident
from mountain_runtime import RateLimit, Runtime, effect
from mountain_runtime._native import trial_noop as noop

Start = Callable[[int], Awaitable[int]]


# -- queued work ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def starter(name: str) -> AsyncGenerator[tuple[Start, AbstractAsyncContextManager[None]], None]:
    """How the named contestant starts one, and a block while which none goes."""
    if name == "ours":
        async with Runtime(max_in_flight=1) as runtime:
            yield lambda number: runtime.submit(noop(number)), _closed(runtime)
    else:
        loop = asyncio.get_running_loop()
        yield lambda number: loop.create_task(_trivial(number)), nullcontext()  # none goes before the loop's next turn


@asynccontextmanager
async def _closed(runtime: Runtime) -> AsyncGenerator[None, None]:
    """Another effect has the permit."""
    taken, over = asyncio.Event(), asyncio.Event()

    @effect
    async def hold() -> None:
        taken.set()
        await over.wait()

    holder = runtime.submit(hold())
    await taken.wait()
    yield
    over.set()
    await holder


async def _trivial(number: int) -> int:
    return number


async def queue(name: str, count: int) -> dict[str, float]:
    """Microseconds until one is queued, the bytes by which it makes the process larger, and microseconds until all have
    ended that were queued."""
    async with starter(name) as (start, closed):
        for each in [start(number) for number in range(100)]:
            await each
        queued: list[Awaitable[int]] = [_nobody()] * count
        async with closed:
            gc.collect()
            before, begin = resident(), perf_counter()
            for number in range(count):
                queued[number] = start(number)
            admitted = perf_counter() - begin
            weight = max(resident() - before, PAGE)
            opened = perf_counter()
        total = 0
        for each in queued:
            total += await each
        ended = perf_counter() - opened
    right = total == count * (count - 1) // 2
    return {"admission": admitted / count * 1e6, "bytes": weight / count, "end": ended / count * 1e6, "right": right}


def _nobody() -> Awaitable[int]:
    """A place in the list that another will take."""
    return asyncio.get_running_loop().create_future()


# -- keys -----------------------------------------------------------------------------------------------------------


async def touch(name: str, count: int, idle: float) -> dict[str, float]:
    """The bytes of a key, itself not counted, and how many are left when all buckets have been full again: `idle`
    seconds after the last call, and as many until the next look."""
    keys = [f"customer {number}" for number in range(count)]
    gc.collect()
    before, begin = resident(), perf_counter()
    answers, held = await (_ours if name == "ours" else _aiolimiters)(keys, idle)
    took = perf_counter() - begin
    weight = max(resident() - before, PAGE)
    known = held()
    if name == "ours":  # of the others none ever goes
        await asyncio.sleep(2 * idle + 0.5)
    return {
        "bytes": weight / count,
        "touch": took / count * 1e6,
        "left": held(),
        "right": answers == count == known,
    }


Held = Callable[[], int]


async def _ours(keys: Sequence[str], idle: float) -> tuple[int, Held]:
    limit = RateLimit(1, per=idle, burst=1, key=_itself)
    call = effect(limit)(_one)
    answers = 0
    for key in keys:
        answers += await call(key)
    return answers, lambda: limit._rates.keys


async def _aiolimiters(keys: Sequence[str], idle: float) -> tuple[int, Held]:
    """As one keeps a limiter for each key by hand."""
    make: Any = importlib.import_module("aiolimiter").AsyncLimiter
    limiters: dict[str, Any] = {}
    answers = 0
    for key in keys:
        if (limiter := limiters.get(key)) is None:
            limiter = limiters[key] = make(1, idle)
        async with limiter:
            answers += await _one(key)
    return answers, lambda: len(limiters)


def _itself(key: str) -> str:
    return key


async def _one(key: str) -> int:
    return 1


async def main(name: str, what: str, count: int, idle: float) -> None:
    """Runs the contestant, and prints its figures."""
    print(json.dumps(await (queue(name, count) if what == "queue" else touch(name, count, idle))), flush=True)
    os._exit(0)  # the leftovers of a million take their time to go


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=["ours", "create_task", "aiolimiter"])
    parser.add_argument("what", choices=["queue", "touch"])
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--idle", type=float, default=4.0, help="seconds until the bucket of a key is full again")
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=LOOPS[chosen.loop]()) as runner:
        runner.run(main(chosen.contestant, chosen.what, chosen.count, chosen.idle))
