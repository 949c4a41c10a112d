"""The port at full size: a million effects, and the counts of the cases."""

import asyncio
import errno
import gc
from collections.abc import Callable

import pytest

from mountain_runtime._native import statistics
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from tests.bridge.test_loops import runs_with_work_in_flight
from tests.effect.test_memory import polls

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def resident() -> int:
    """Bytes of memory in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.timeout(300)
def test_a_million_effects(new_loop: LoopFactory, complaints: list[str]) -> None:
    """64 in flight, every wake-up arrives, and memory stays where it was."""

    async def sustained(total: int) -> int:
        left, done = total, 0

        async def worker() -> None:
            nonlocal left, done
            while left > 0:
                left -= 1
                answer = await noop(1)
                done += answer

        await asyncio.gather(*(worker() for _ in range(64)))
        return done

    loop = new_loop()
    try:
        assert loop.run_until_complete(sustained(100_000)) == 100_000
        gc.collect()
        before = resident()
        assert loop.run_until_complete(sustained(1_000_000)) == 1_000_000
        gc.collect()
        assert resident() - before < 1 << 20
    finally:
        loop.close()
    assert statistics()["running"] == 0
    assert complaints == []


@pytest.mark.timeout(300)
def test_three_hundred_runs_with_work_in_flight(new_loop: LoopFactory, complaints: list[str]) -> None:
    """B1"""
    runs_with_work_in_flight(new_loop, 300)
    gc.collect()
    assert complaints == []


@pytest.mark.timeout(300)
def test_cancels_in_the_tick_of_completion(new_loop: LoopFactory, complaints: list[str]) -> None:
    """B1, T1: at any moment between start and answer, ten thousand times, values and errors."""

    async def main() -> None:
        for n in range(10_000):
            task = asyncio.ensure_future(noop(1) if n % 2 else fail(errno.EIO))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            asked = task.cancel()
            try:
                await task
                assert not asked
            except asyncio.CancelledError:
                assert asked
            except OSError:
                assert not asked

    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    gc.collect()
    assert complaints == []


@pytest.mark.timeout(300)
def test_a_hundred_thousand_polls(new_loop: LoopFactory) -> None:
    """B13"""
    loop = new_loop()
    try:
        loop.run_until_complete(polls(1000))
        gc.collect()
        before = len(gc.get_objects())
        loop.run_until_complete(polls(100_000))
        gc.collect()
        assert len(gc.get_objects()) - before < 200
    finally:
        loop.close()
