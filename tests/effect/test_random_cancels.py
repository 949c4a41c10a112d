"""Random cancels: a few hundred tasks here, the storm in tests/stress."""

import asyncio

import pytest

from mountain_runtime._native import statistics

from .cancel_storm import Storm
from .support import collect


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_hangs_leaks_or_swallows(seed: int, loop_complaints: list[str]) -> None:
    """T1, T10, T11 at random moments."""
    collect()
    before, running = asyncio.all_tasks(), statistics()["running"]
    counts = await Storm(seed).run(100)
    assert counts.wrong == []
    assert counts.begun == counts.cleaned
    assert counts.cancelled
    assert counts.timed_out
    assert counts.values
    assert asyncio.all_tasks() == before
    collect()
    assert loop_complaints == []
    for _ in range(200):
        if statistics()["running"] <= running:
            break
        await asyncio.sleep(0.005)  # aborted native work ends on its own thread
    assert statistics()["running"] <= running
