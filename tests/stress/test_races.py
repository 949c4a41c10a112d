"""Ties between cancels, ends and limits, as often as it takes to meet the rare ones."""

import asyncio
import gc
from collections.abc import Callable

import pytest
import uvloop

from mountain_runtime import Runtime, _native, effect
from tests.policy import ties

pytestmark = pytest.mark.timeout(1800)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ties.ROUNDS)
def test_a_cancel_in_the_tick_of_the_end_wins(name: str, loop: str) -> None:
    """T1, 10,000 times."""
    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        for seed in range(10):
            runner.run(ties.run(name, rounds=1000, seed=seed))


@pytest.mark.parametrize("loop", LOOPS)
def test_dropped_handles_lose_nothing(loop: str) -> None:
    """Q5, 50 times in runtimes of their own."""

    async def body() -> None:
        done = 0

        @effect
        async def work() -> None:
            nonlocal done
            await asyncio.sleep(0)
            await _native.trial_noop()
            done += 1

        async with Runtime() as runtime:
            for n in range(1000):
                runtime.submit(work())
                runtime.submit(_native.trial_sleep(0.0001 * (n % 10)))
            gc.collect()
        assert done == 1000

    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        for _ in range(50):
            runner.run(body())
            gc.collect()
    assert _native.statistics()["timers"] == 0
