"""A million keys, ten thousand who wait, and long storms: on rate limits and breakers."""

import asyncio
import gc
import os
import time
from pathlib import Path

import pytest
import uvloop

from mountain_runtime import CircuitBreaker, RateLimit, _native, effect
from tests.property import storms

pytestmark = pytest.mark.timeout(1800)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
MILLION = 1_000_000


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def forgotten(keys: "_native.RateState | _native.BreakerState", within: float) -> None:
    begun = time.monotonic()
    while keys.keys:
        assert time.monotonic() - begun < within, f"{keys.keys} are left"
        await asyncio.sleep(0.05)  # they go by the clock: there is nothing to wait on


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("burst", [None, 5], ids=["strict", "bucket"])
def test_a_million_keys_come_and_go(loop: str, burst: int | None) -> None:
    """L5."""

    async def main() -> None:
        await _native.trial_noop()  # now the clock's thread has a loop to wake, which drops what is forgotten
        limit = RateLimit(5, per=1, burst=burst, key=lambda key: key)

        @effect(limit)
        async def call(key: int) -> None: ...

        held = []
        for _ in range(5):
            for key in range(MILLION):
                await call(key)
            await forgotten(limit._rates, within=60)
            gc.collect()
            held.append(resident())
        # How many there are at a time is a matter of luck, but not how many are kept: each million would be 100 MB.
        assert held[-1] < max(held[:2]) + 100_000_000, held
        assert _native.statistics()["timers"] == 0

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_million_keys_of_a_breaker(loop: str) -> None:
    async def main() -> None:
        breaker = CircuitBreaker(failures=2, window=1, cooldown=1, key=lambda key: key)

        @effect(breaker)
        async def call(key: int) -> None:
            if key % 2:
                raise ValueError

        for key in range(MILLION):
            try:
                await call(key)
            except ValueError:
                pass
        await forgotten(breaker._circuit, within=60)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_ten_thousand_wait_and_all_have_their_turn(loop: str) -> None:
    """L12: the loop is idle but for those whose turn it is."""

    async def main() -> None:
        limit = RateLimit(1000, per=1)
        order: list[int] = []

        async def one(n: int) -> None:
            await limit.acquire()
            order.append(n)

        begun = time.monotonic()
        await asyncio.gather(*[one(n) for n in range(10_000)])
        took = time.monotonic() - begun
        assert order == list(range(10_000))
        assert 9 <= took < 20

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("burst", [False, True], ids=["strict", "bucket"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", range(4))
def test_no_window_holds_more(seed: int, loop: str, burst: bool) -> None:
    storms.rates(seed, threads=8, callers=40, make=LOOPS[loop], burst=burst)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", range(20))
def test_no_more_than_the_probes_are_inside(seed: int, loop: str) -> None:
    storms.probes(seed, threads=8, callers=300, make=LOOPS[loop])
