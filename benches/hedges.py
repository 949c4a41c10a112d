"""Hedges: the price of one that does not fire, and the slow calls that it saves."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import perf_counter

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures
from mountain_runtime import Hedge, effect

CASES: Mapping[str, tuple[str, ...]] = {"hedge-idle": ("asyncio.wait",), "hedge-tail": ("asyncio.wait", "no hedge")}

BARE = OURS_TOO + "no hedge"

#: Of each so many calls of the simulated upstream one is slow, whichever it is.
SLOW = 20
FAST_SECONDS, SLOW_SECONDS = 0.004, 0.2
#: After how long a second attempt begins.
LATER = 0.03
AT_ONCE = 50


def idle(scale: Scale) -> Contest:
    """Calls that end at once, one after the other."""
    count = scale.pick(full=50_000, quick=10_000, tiny=100)

    async def value() -> int:
        return 1

    async def by_hand() -> int:
        return await _by_hand(value)

    async def turn(call: Callable[[], Awaitable[int]], count: int) -> Sample:
        start, total = perf_counter(), 0
        for _ in range(count):
            total += await call()
        return Sample(((perf_counter() - start) / count * 1e6,), total / count)

    turns: dict[str, Round] = {
        OURS: partial(turn, effect(Hedge())(value), count),
        BARE: partial(turn, effect(value), count),
        "asyncio.wait": partial(turn, by_hand, count),
    }
    beside = Extra("hedge-idle", "no hedge", "us", _series(OURS), _series(BARE), needs=(OURS, BARE), resolution=0.001)
    return Contest(scale.pick(full=15, quick=9, tiny=2), turns, 1.0, (Measure("hedge-idle", "us"),), (beside,))


def tail(scale: Scale) -> Contest:
    """Of an upstream of which one call in twenty is slow: the time within which 99 of 100 calls end, and its load."""
    count = scale.pick(full=3000, quick=2000, tiny=60)

    async def turn(hedged: Callable[[Callable[[], Awaitable[int]]], Callable[[], Awaitable[int]]]) -> Sample:
        chance, asked, slow = random.Random(7), 0, 0

        async def upstream() -> int:
            nonlocal asked, slow
            if asked % SLOW == 0:
                slow = asked + chance.randrange(SLOW)
            takes = SLOW_SECONDS if asked == slow else FAST_SECONDS
            asked += 1
            await asyncio.sleep(takes)
            return 1

        call, took = hedged(upstream), list[float]()

        async def caller(calls: int) -> int:
            total = 0
            for _ in range(calls):
                start = perf_counter()
                total += await call()
                took.append(perf_counter() - start)
            return total

        totals = await asyncio.gather(*(caller(count // AT_ONCE or 1) for _ in range(AT_ONCE)))
        took.sort()
        calls = len(took)
        return Sample((took[int(calls * 0.99)] * 1e3, asked / calls * 100), sum(totals) / calls)

    turns: dict[str, Round] = {
        OURS: partial(turn, effect(Hedge(LATER))),
        "no hedge": partial(turn, lambda upstream: upstream),
        "asyncio.wait": partial(turn, lambda upstream: partial(_by_hand, upstream)),
    }
    load = Extra(
        "hedge-tail", "no hedge, calls made for 100", "", _series(OURS, 1), _series("no hedge", 1), needs=("no hedge",)
    )
    return Contest(scale.pick(full=7, quick=5, tiny=1), turns, 1.0, (Measure("hedge-tail", "ms"),), (load,))


def _series(name: str, figure: int = 0) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name], figure)


async def _by_hand(call: Callable[[], Awaitable[int]]) -> int:
    """A hedge as it is written by hand: the loser is cancelled, and awaited."""
    attempts = {asyncio.ensure_future(call())}
    done, _ = await asyncio.wait(attempts, timeout=LATER)
    if not done:
        attempts.add(asyncio.ensure_future(call()))
        done, _ = await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
    losers = attempts - done
    for loser in losers:
        loser.cancel()
    await asyncio.gather(*losers, return_exceptions=True)
    return done.pop().result()
