"""The order of calls in the suites: one at a time, so many at a time, all at once, beside a busy thread."""

import asyncio
import statistics
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, TypeVar

from benches.harness import Sample

A = TypeVar("A")
B = TypeVar("B")

#: A median of fewer awaits would say nothing.
AT_LEAST = 3
#: So many calls make one half of a pair.
BLOCK = 100
#: Microseconds: what is less cannot be told from nothing.
LEAST = 0.001

Block = Callable[[Sequence[int]], Awaitable[Sample]]


async def one_after_another(call: Callable[[A], Awaitable[B]], items: Sequence[A]) -> Sample:
    """Awaits a call for each item in turn: microseconds a call, and all results."""
    answer: list[B] = []
    keep = answer.append
    start = perf_counter()
    for item in items:
        keep(await call(item))
    return Sample((_microseconds(start, len(items)),), answer)


async def added(without: Block, call: Block, numbers: Sequence[int]) -> Sample:
    """Microseconds that `call` takes more than `without`: the median of short pairs, each the other way round than the
    one before, so that little of what else the machine does is seen in it."""
    answer: list[int] = []
    more: list[float] = []
    for pair, start in enumerate(range(0, len(numbers), BLOCK)):
        block = numbers[start : start + BLOCK]
        turns = {each: await each(block) for each in ((without, call) if pair % 2 else (call, without))}
        more.append(turns[call].figures[0] - turns[without].figures[0])
        answer += [number for turn in turns.values() if isinstance(turn.answer, list) for number in turn.answer]
    return Sample((max(statistics.median(more), LEAST),), answer)


def in_pairs(numbers: Sequence[int]) -> list[int]:
    """The answer of `added`, if each call answers its number."""
    return [number for start in numbers[::BLOCK] for number in [*numbers[start : start + BLOCK]] * 2]


async def all_at_once(gather: Callable[[int], Awaitable[list[int]]], count: int) -> Sample:
    """One gather of `count` calls: microseconds a call, and all results."""
    start = perf_counter()
    answer = await gather(count)
    return Sample((_microseconds(start, count),), answer)


async def side_by_side(worker: Callable[[], Coroutine[Any, Any, B]], count: int) -> tuple[float, list[B]]:
    """`count` tasks of one worker, which take turns at a shared iterator: asyncio's cheapest way to have so many calls
    in flight. Returns the seconds and what each worker returned."""
    start = perf_counter()
    returned = await asyncio.gather(*[worker() for _ in range(count)])
    return perf_counter() - start, returned


async def beside_a_busy_thread(call: Callable[[int], Awaitable[int]], seconds: float) -> Sample:
    """The median microseconds of an await while another thread computes in Python, and whether each answer was right.

    It goes on for some time rather than for some calls: the GIL changes hands every 5 ms, and a few fast calls would be
    over before the other thread had it once.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_compute, args=(stop,), daemon=True)
    took: list[float] = []
    right = True
    thread.start()
    try:
        begin = perf_counter()
        while (start := perf_counter()) - begin < seconds or len(took) < AT_LEAST:
            right &= await call(len(took)) == len(took)
            took.append((perf_counter() - start) * 1e6)
    finally:
        stop.set()
        thread.join()
    return Sample((statistics.median(took),), right)


def _compute(stop: threading.Event) -> None:
    total = 0
    while not stop.is_set():
        for number in range(1000):
            total += number


def _microseconds(start: float, count: int) -> float:
    return (perf_counter() - start) / count * 1e6
