"""Limits in storms of callers, as often as it takes to meet the rare moments."""

import asyncio
import random

import pytest

from mountain_runtime import ConcurrencyLimit, _native
from tests.conftest import BOTH
from tests.policy.room import counts, until
from tests.property.limit_storm import random_storm

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("loop", BOTH)
@pytest.mark.parametrize("leave", [False, True], ids=["all run to their end", "loops are closed"])
@pytest.mark.parametrize("seed", range(5))
def test_places_are_conserved(seed: int, leave: bool, loop: str) -> None:
    """Hundreds of storms of up to 240 callers on six loops."""
    dice = random.Random(seed)
    for _ in range(200):
        random_storm(dice, BOTH[loop], loops=6, callers=40, leave=leave)


@pytest.mark.parametrize("loop", BOTH)
@pytest.mark.parametrize("kind", ["call", "slot", "native"])
def test_cancelled_at_the_grant(kind: str, loop: str) -> None:
    """T2, 30,000 times for each kind of waiter, two of them racing for the place."""

    async def main() -> None:
        limit = ConcurrencyLimit(1)

        async def in_slot() -> None:
            async with limit.slot():
                await asyncio.sleep(0)

        def waits() -> "asyncio.Task[object]":
            match kind:
                case "call":
                    return asyncio.create_task(limit.call(asyncio.sleep, 0))
                case "slot":
                    return asyncio.create_task(in_slot())
                case _:
                    return asyncio.create_task(_native.trial_noop(1).under(limit))

        for n in range(30_000):
            slot = limit.slot()
            await slot.__aenter__()
            first, second = waits(), waits()
            for _ in range(1 + n % 3):
                await asyncio.sleep(0)
            await slot.__aexit__(None, None, None)
            for _ in range(n % 7):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first, second])
            assert second.exception() is None  # the place went on to it
            if kind == "native":
                await until(lambda: counts(limit) == (0, 0))
            assert counts(limit) == (0, 0)

    with asyncio.Runner(loop_factory=BOTH[loop]) as runner:
        runner.run(main())
