"""Items of a stream under three policies, and the price of opening one."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from mountain_runtime import Idle, Retry, Timeout, stream

CASES: Mapping[str, tuple[str, ...]] = {"item": ("aiostream",), "open": ("aiostream",)}

BARE = OURS_TOO + "bare generator"
LIMITED = (Timeout(300), Retry(on=ConnectionError), Idle(60))


async def numbers(count: int) -> AsyncGenerator[int, None]:
    """The items come at once."""
    for number in range(count):
        yield number


async def _read(items: AsyncIterator[int]) -> int:
    total = 0
    async for _ in items:
        total += 1
    return total


def item(scale: Scale) -> Contest:
    """Microseconds an item of one stream."""
    count = scale.pick(full=200_000, quick=50_000, tiny=500)

    async def turn(opened: Callable[[int], Any]) -> Sample:
        start = perf_counter()
        async with opened(count) as items:
            total = await _read(items)
        return Sample(((perf_counter() - start) / count * 1e6,), total)

    return _contest(scale, "item", turn, count)


def opening(scale: Scale) -> Contest:
    """Microseconds a stream of one item: opened, read to its end, and left."""
    count = scale.pick(full=20_000, quick=5_000, tiny=50)

    async def turn(opened: Callable[[int], Any]) -> Sample:
        start, total = perf_counter(), 0
        for _ in range(count):
            async with opened(1) as items:
                async for _ in items:
                    total += 1
        return Sample(((perf_counter() - start) / count * 1e6,), total)

    return _contest(scale, "open", turn, count)


def _contest(
    scale: Scale, case: str, turn: Callable[[Callable[[int], Any]], Awaitable[Sample]], expected: int
) -> Contest:
    turns: dict[str, Round] = {
        OURS: partial(turn, stream(*LIMITED)(numbers)),
        BARE: partial(turn, lambda count: aclosing(numbers(count))),
    }
    if aiostream := optional("aiostream"):
        turns["aiostream"] = partial(turn, lambda count: aiostream.stream.timeout(numbers(count), 60).stream())
    beside = Extra(case, "bare generator", "us", _series(OURS), _series(BARE), needs=(OURS, BARE), resolution=0.001)
    return Contest(scale.pick(full=15, quick=9, tiny=2), turns, expected, (Measure(case, "us"),), (beside,))


def _series(name: str) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name])
