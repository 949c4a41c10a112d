"""Many calls that are sent as one, and the price that each of them pays."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from mountain_runtime import batch

CASES: Mapping[str, tuple[str, ...]] = {"batch": ("aiodataloader", "async-batcher")}

#: Items of one batch.
SIZE = 100
#: Measured beside the contestants.
FUTURES = OURS_TOO + "bare futures"
NOTHING = OURS_TOO + "no batch"

Call = Callable[[int], Awaitable[int]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The one case so far."""
    yield _batch(scale)


async def tenfold(numbers: Sequence[int]) -> list[int]:
    """The function of a batch gives way to the loop once."""
    await asyncio.sleep(0)
    return [number * 10 for number in numbers]


def _batch(scale: Scale) -> Contest:
    count = scale.pick(full=10_000, quick=10_000, tiny=300)
    load = batch(SIZE)(tenfold)
    turns: dict[str, Round] = {OURS: partial(_in_tasks, load, count), NOTHING: partial(_in_tasks, _unbatched, count)}
    if loaders := optional("aiodataloader"):
        turns["aiodataloader"] = partial(_loaders, loaders.DataLoader, _in_tasks, count)
        turns[FUTURES] = partial(_loaders, loaders.DataLoader, _as_futures, count)
    if batchers := optional("async_batcher.batcher"):
        turns["async-batcher"] = partial(_batchers, batchers.AsyncBatcher, count)
    extras = (
        _beside("aiodataloader, its bare futures", FUTURES, "aiodataloader"),
        _beside("no batch", NOTHING, NOTHING),
    )
    expected = [number * 10 for number in range(count)]
    return Contest(scale.pick(full=15, quick=9, tiny=2), turns, expected, (Measure("batch", "us"),), extras)


def _beside(label: str, theirs: str, needs: str) -> Extra:
    return Extra("batch", label, "us", partial(_figures, OURS), partial(_figures, theirs), needs=(OURS, needs))


def _figures(name: str, samples: Samples) -> list[float]:
    return figures(samples[name])


async def _unbatched(number: int) -> int:
    await asyncio.sleep(0)
    return number * 10


async def _in_tasks(call: Call, count: int) -> Sample:
    """Microseconds a call, with the making of its task."""
    start = perf_counter()
    answer = await asyncio.gather(*[asyncio.create_task(_awaited(call, number)) for number in range(count)])
    return Sample(((perf_counter() - start) / count * 1e6,), answer)


async def _awaited(call: Call, number: int) -> int:
    return await call(number)


async def _as_futures(call: Call, count: int) -> Sample:
    start = perf_counter()
    answer = await asyncio.gather(*[call(number) for number in range(count)])
    return Sample(((perf_counter() - start) / count * 1e6,), answer)


async def _loaders(make: Any, how: Callable[[Call, int], Awaitable[Sample]], count: int) -> Sample:
    loader = make(tenfold, cache=False, max_batch_size=SIZE)
    return await how(loader.load, count)


async def _batchers(base: Any, count: int) -> Sample:
    async def process_batch(_: object, batch: list[int]) -> list[int]:
        return await tenfold(batch)

    batcher = type("Batcher", (base,), {"process_batch": process_batch})(
        max_batch_size=SIZE, max_queue_time=0, concurrency=-1
    )
    sample = await _in_tasks(batcher.process, count)
    await batcher.stop(force=True)
    return sample
