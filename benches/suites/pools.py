"""Pools: calls of functions on two worker processes, beside the executors that people use, and on a worker of Ray's.

Each pool is warm, with its workers started, but for the case `cold`.
"""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from time import perf_counter
from typing import Any

from benches import on_ray
from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from mountain_runtime import On, Priority, Timeout, blocking, gather, pools, priority

EXECUTOR = "ProcessPoolExecutor"

CASES: Mapping[str, tuple[str, ...]] = {
    "call": (EXECUTOR, "loky", "pebble"),
    "calls-10k": (EXECUTOR, "loky", "pebble"),
    "large": (EXECUTOR,),
    "compute": (EXECUTOR,),
    "stop": ("pebble",),
    "priority-p99": (EXECUTOR,),
    "cold": (EXECUTOR,),
    on_ray.CASE: (on_ray.ACTOR,),
}

WORKERS = 2
#: Both start workers anew, as a fork of a process with threads is none to rely on.
SPAWN = multiprocessing.get_context("spawn")

pool = pools.Processes(WORKERS, name="bench")
fresh = pools.Processes(1, name="cold")


def added(a: int, b: int) -> int:
    return a + b


def same(data: bytes) -> bytes:
    return data


def computed(number: int) -> int:
    return sum(k * k % 7 for k in range(number))


def endless() -> None:
    while True:
        time.sleep(0)  # lets the other threads of its process run


on_pool = blocking(On(pool))
add, echo, compute = on_pool(added), on_pool(same), on_pool(computed)
stopped = blocking(Timeout(0.5), On(pool))(endless)


@blocking(On(fresh))
def add_fresh(a: int, b: int) -> int:
    return a + b


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """Peers first wait for their workers, as ours do."""
    async with pool:
        with contextlib.ExitStack() as stack:
            peers: dict[str, Executor] = {EXECUTOR: stack.enter_context(ProcessPoolExecutor(WORKERS, mp_context=SPAWN))}
            if loky := optional("loky"):
                peers["loky"] = stack.enter_context(loky.ProcessPoolExecutor(WORKERS))
            stoppable: Any = None
            if pebble := optional("pebble"):
                stoppable = stack.enter_context(pebble.ProcessPool(WORKERS, context=SPAWN))
                peers["pebble"] = _Submits(stoppable)
            for peer in peers.values():
                for future in [peer.submit(time.sleep, 0.01) for _ in range(8)]:
                    future.result()
            await gather([compute(100_000) for _ in range(8)])
            yield _one_after_another(scale, peers)
            yield _at_once(scale, peers)
            yield _large(scale, peers[EXECUTOR])
            yield _compute(scale, peers[EXECUTOR])
            yield _stop(scale, stoppable)
            yield _urgent(scale, peers[EXECUTOR])
    yield _cold(scale)
    async for contest in on_ray.contests(scale):
        yield contest


class _Submits(Executor):
    """A pool of pebble's as an executor."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Any:
        return self._pool.submit(fn, None, *args)


def _one_after_another(scale: Scale, peers: Mapping[str, Executor]) -> Contest:
    count = scale.pick(full=2000, quick=1000, tiny=20)

    async def ours() -> Sample:
        start, total = perf_counter(), 0
        for number in range(count):
            total += await add(number, 1)
        return Sample(((perf_counter() - start) / count * 1e6,), total)

    def of(peer: Executor) -> Round:
        async def theirs() -> Sample:
            loop = asyncio.get_running_loop()
            start, total = perf_counter(), 0
            for number in range(count):
                total += await loop.run_in_executor(peer, added, number, 1)
            return Sample(((perf_counter() - start) / count * 1e6,), total)

        return theirs

    turns = {OURS: ours, **{name: of(peer) for name, peer in peers.items()}}
    return Contest(scale.pick(full=11, quick=5, tiny=1), turns, count * (count + 1) // 2, (Measure("call", "us"),))


def _at_once(scale: Scale, peers: Mapping[str, Executor]) -> Contest:
    count = scale.pick(full=10_000, quick=10_000, tiny=50)

    async def ours() -> Sample:
        start = perf_counter()
        total = sum(await gather([add(number, 1) for number in range(count)]))
        return Sample(((perf_counter() - start) / count * 1e6,), total)

    def of(peer: Executor) -> Round:
        async def theirs() -> Sample:
            start = perf_counter()
            futures = [peer.submit(added, number, 1) for number in range(count)]
            total = sum(await asyncio.gather(*map(asyncio.wrap_future, futures)))
            return Sample(((perf_counter() - start) / count * 1e6,), total)

        return theirs

    turns = {OURS: ours, **{name: of(peer) for name, peer in peers.items()}}
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, count * (count + 1) // 2, (Measure("calls-10k", "us"),))


def _large(scale: Scale, peer: Executor) -> Contest:
    data = os.urandom(1 << 20) * scale.pick(full=64, quick=64, tiny=1)

    async def ours() -> Sample:
        return await _timed(lambda: echo(data))

    async def theirs() -> Sample:
        return await _timed(lambda: asyncio.get_running_loop().run_in_executor(peer, same, data))

    rounds = scale.pick(full=7, quick=3, tiny=1)
    return Contest(rounds, {OURS: ours, EXECUTOR: theirs}, data, (Measure("large", "ms"),))


def _compute(scale: Scale, peer: Executor) -> Contest:
    size = scale.pick(full=1_000_000, quick=500_000, tiny=1000)
    tasks = 8

    async def ours() -> Sample:
        return await _timed(lambda: gather([compute(size) for _ in range(tasks)]))

    async def theirs() -> Sample:
        loop = asyncio.get_running_loop()
        return await _timed(lambda: asyncio.gather(*[loop.run_in_executor(peer, computed, size) for _ in range(tasks)]))

    async def alone() -> Sample:
        async def all_of_it() -> list[int]:
            return [computed(size) for _ in range(tasks)]

        return await _timed(all_of_it)

    def time_of(name: str) -> Callable[[Samples], list[float]]:
        return lambda samples: list(figures(samples[name], 0))

    one = OURS_TOO + "one core"
    faster = Extra("compute", "one core", "ms", time_of(OURS), time_of(one), (OURS, one))
    turns = {OURS: ours, EXECUTOR: theirs, one: alone}
    rounds = scale.pick(full=7, quick=3, tiny=1)
    return Contest(rounds, turns, [computed(size)] * tasks, (Measure("compute", "ms"),), (faster,))


def _stop(scale: Scale, peer: Any) -> Contest:
    """From the call until its limit has ended it and the next one is answered."""

    async def ours() -> Sample:
        async def both() -> int:
            with contextlib.suppress(TimeoutError):
                await stopped()
            return await add(1, 1)

        return await _timed(both)

    async def theirs() -> Sample:
        async def both() -> int:
            with contextlib.suppress(TimeoutError):
                await asyncio.wrap_future(peer.submit(endless, 0.5))
            return await asyncio.wrap_future(peer.submit(added, None, 1, 1))

        return await _timed(both)

    turns: dict[str, Round] = {OURS: ours}
    if peer is not None:
        turns["pebble"] = theirs
    return Contest(scale.pick(full=5, quick=3, tiny=1), turns, 2, (Measure("stop", "ms"),))


def _urgent(scale: Scale, peer: Executor) -> Contest:
    """Urgent calls that come one after another while others wait: the time that all but one in a hundred takes."""
    low = scale.pick(full=10_000, quick=10_000, tiny=100)
    high = scale.pick(full=100, quick=50, tiny=5)

    async def ours() -> Sample:
        with priority(Priority.LOW):
            waiting = asyncio.ensure_future(gather([add(1, 1) for _ in range(low)]))
        for _ in range(5):  # until all of them wait
            await asyncio.sleep(0)
        took = []
        with priority(Priority.HIGH):
            for _ in range(high):
                start = perf_counter()
                await add(1, 1)
                took.append(perf_counter() - start)
        return Sample((_p99(took) * 1e3,), sum(await waiting))

    async def theirs() -> Sample:
        loop = asyncio.get_running_loop()
        waiting = [peer.submit(added, 1, 1) for _ in range(low)]
        took = []
        for _ in range(high):
            start = perf_counter()
            await loop.run_in_executor(peer, added, 1, 1)
            took.append(perf_counter() - start)
        return Sample((_p99(took) * 1e3,), sum(await asyncio.gather(*map(asyncio.wrap_future, waiting))))

    rounds = scale.pick(full=7, quick=3, tiny=1)
    return Contest(rounds, {OURS: ours, EXECUTOR: theirs}, 2 * low, (Measure("priority-p99", "ms"),))


def _cold(scale: Scale) -> Contest:
    """From nothing to the first answer, with one worker."""

    async def ours() -> Sample:
        try:
            return await _timed(lambda: add_fresh(1, 1))
        finally:
            async with fresh:
                pass

    async def theirs() -> Sample:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as peer:
            return await _timed(lambda: asyncio.get_running_loop().run_in_executor(peer, added, 1, 1))

    return Contest(scale.pick(full=7, quick=3, tiny=1), {OURS: ours, EXECUTOR: theirs}, 2, (Measure("cold", "ms"),))


async def _timed(work: Callable[[], Awaitable[object]]) -> Sample:
    start = perf_counter()
    answer = await work()
    return Sample(((perf_counter() - start) * 1e3,), answer)


def _p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]
