"""Many calls that are sent as one, many items that come as lists, slow calls hedged, and the price that each pays."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benches import hedges, items
from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from mountain_runtime import Effect, batch, chunked, gather

CASES: Mapping[str, tuple[str, ...]] = {
    "batch": ("aiodataloader", "async-batcher"),
    "chunked": ("aiostream",),
    **hedges.CASES,
    **items.CASES,
}

#: Items of one batch.
SIZE = 100
#: Measured beside the contestants.
TASKS = OURS_TOO + "in tasks"
THEIR_TASKS = OURS_TOO + "aiodataloader in tasks"
NOTHING = OURS_TOO + "no batch"
TIMED = OURS_TOO + "within"
BARE = OURS_TOO + "no lists"

Call = Callable[[int], Awaitable[int]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The cases, each from contestants of its own."""
    yield _batch(scale)
    yield _chunked(scale)
    yield hedges.idle(scale)
    yield hedges.tail(scale)
    yield items.item(scale)
    yield items.opening(scale)


async def tenfold(numbers: Sequence[int]) -> list[int]:
    """The function of a batch gives way to the loop once."""
    await asyncio.sleep(0)
    return [number * 10 for number in numbers]


def _batch(scale: Scale) -> Contest:
    count = scale.pick(full=10_000, quick=10_000, tiny=300)
    load = batch(SIZE)(tenfold)
    turns: dict[str, Round] = {
        OURS: partial(_gathered, load, count),
        TASKS: partial(_in_tasks, load, count),
        NOTHING: partial(_in_tasks, _unbatched, count),
    }
    if loaders := optional("aiodataloader"):
        turns["aiodataloader"] = partial(_loaders, loaders.DataLoader, _as_awaitables, count)
        turns[THEIR_TASKS] = partial(_loaders, loaders.DataLoader, _in_tasks, count)
    if batchers := optional("async_batcher.batcher"):
        turns["async-batcher"] = partial(_batchers, batchers.AsyncBatcher, count)
    extras = (
        _beside("batch", "aiodataloader, each in a task", THEIR_TASKS, "aiodataloader", ours=TASKS),
        _beside("batch", "no batch, each in a task", NOTHING, NOTHING, ours=TASKS),
    )
    expected = [number * 10 for number in range(count)]
    return Contest(scale.pick(full=15, quick=9, tiny=2), turns, expected, (Measure("batch", "us"),), extras)


def _beside(case: str, label: str, theirs: str, needs: str, ours: str = OURS) -> Extra:
    return Extra(
        case, label, "us", partial(_figures, ours), partial(_figures, theirs), needs=(ours, needs), resolution=0.001
    )


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


async def _gathered(call: Callable[[int], Effect[int]], count: int) -> Sample:
    """Microseconds a call, by our own gather."""
    start = perf_counter()
    answer = await gather([call(number) for number in range(count)])
    return Sample(((perf_counter() - start) / count * 1e6,), answer)


async def _as_awaitables(call: Call, count: int) -> Sample:
    """Microseconds a call, by asyncio's gather: of futures, or of coroutines, for which it makes tasks."""
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
    sample = await _as_awaitables(batcher.process, count)
    await batcher.stop(force=True)
    return sample


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def _chunked(scale: Scale) -> Contest:
    """The source has its items at once: what is measured is the making of lists."""
    count = scale.pick(full=100_000, quick=20_000, tiny=500)

    async def ours(within: float | None) -> Sample:
        begun, lists = perf_counter(), list[list[int]]()
        async with chunked(_numbers(count), SIZE, within=within) as source:
            async for some in source:
                lists.append(some)
        return _lists(begun, lists)

    async def theirs(stream: Any) -> Sample:
        begun, lists = perf_counter(), list[list[int]]()
        async with stream.chunks(_numbers(count), SIZE).stream() as source:
            async for some in source:
                lists.append(some)
        return _lists(begun, lists)

    async def bare() -> Sample:
        begun = perf_counter()
        numbers = [number async for number in _numbers(count)]
        return _lists(begun, [numbers[place : place + SIZE] for place in range(0, count, SIZE)])

    def _lists(begun: float, lists: list[list[int]]) -> Sample:
        return Sample(((perf_counter() - begun) / count * 1e6,), lists)

    turns: dict[str, Round] = {OURS: partial(ours, None), TIMED: partial(ours, 60.0), BARE: bare}
    if aiostream := optional("aiostream"):
        turns["aiostream"] = partial(theirs, aiostream.stream)
    extras = (
        _beside("chunked", "aiostream, ours with within", "aiostream", "aiostream", TIMED),
        _beside("chunked", "no lists", BARE, BARE),
    )
    expected = [list(range(place, min(place + SIZE, count))) for place in range(0, count, SIZE)]
    return Contest(scale.pick(full=15, quick=9, tiny=2), turns, expected, (Measure("chunked", "us"),), extras)
