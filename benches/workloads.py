"""How calls follow each other in the suites: one at a time, so many at a time, all at once, beside a busy thread."""

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


async def one_after_another(call: Callable[[A], Awaitable[B]], items: Sequence[A]) -> Sample:
    """Awaits a call for each item in turn: microseconds a call, and all results."""
    answer: list[B] = []
    keep = answer.append
    start = perf_counter()
    for item in items:
        keep(await call(item))
    return Sample((_microseconds(start, len(items)),), answer)


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
