"""Whatever is called, fails, is late and is cancelled: half-open no more than the probes begin, and no slot is lost."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest
import uvloop
from hypothesis import event, given
from hypothesis import strategies as st

from mountain_runtime import CircuitBreaker, Timeout, effect
from mountain_runtime.errors import CircuitOpen, TimedOut
from mountain_runtime.testing import _virtual

from . import storms

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
COOLDOWN = 5.0


class Boom(Exception): ...


@dataclass(frozen=True)
class Caller:
    comes: float
    takes: float
    #: How it ends, if nothing ends it before: an error that counts, one that does not, a value.
    end: type[Exception] | None
    #: After so many seconds it is cancelled, or times out: outside the breaker, or inside.
    limit: float | None
    how: str


callers = st.builds(
    Caller,
    comes=st.sampled_from([0.0, 0.5, 1.0, 4.5, 5.0, 5.5, 6.0, 10.0, 11.0, 12.0, 17.0]),
    takes=st.sampled_from([0.0, 0.0, 0.25, 1.0, 6.0]),
    end=st.sampled_from([None, None, Boom, Boom, KeyError]),
    limit=st.none() | st.sampled_from([0.1, 0.3, 2.0]),
    how=st.sampled_from(["cancel", "outside", "inside"]),
)


class Watched:
    """Calls under a breaker that opens after one failure, with what must hold as each of them begins."""

    def __init__(self, breaker: CircuitBreaker, probes: int) -> None:
        self.breaker = breaker
        self.probes = probes
        #: Changes while it is open. Nothing begins then, so what began half-open in one period is of one half-opening.
        self.period = 0
        self.inside: Counter[int] = Counter()
        self.waits: list[float] = []

    async def leaf(self, caller: Caller) -> None:
        state, period = self.breaker.state(), self.period
        assert state in ("closed", "half_open")
        self.inside[period] += state == "half_open"
        assert self.inside[period] <= self.probes
        try:
            await asyncio.sleep(caller.takes)
            if caller.end is not None:
                raise caller.end
        finally:
            self.inside[period] -= state == "half_open"

    async def call(self, caller: Caller) -> None:
        await asyncio.sleep(caller.comes)
        limit = () if caller.limit is None else (Timeout(caller.limit),)
        work = effect(self.breaker, *(limit if caller.how == "inside" else ()))(self.leaf)(caller)
        if caller.how == "outside":
            work = work.under(*limit)
        if caller.how == "cancel" and caller.limit is not None:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(caller.limit, task.cancel)
        try:
            await work
        except CircuitOpen as refused:
            self.waits.append(refused.retry_after)
        except (Boom, KeyError, TimedOut, asyncio.CancelledError):
            pass
        if self.breaker.state() == "open":
            self.period += 1


@given(probes=st.integers(1, 3), plan=st.lists(callers, min_size=1, max_size=15))
def test_no_more_than_the_probes_begin_half_open_in_virtual_time(probes: int, plan: list[Caller]) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=COOLDOWN, probes=probes, on=Boom)
    watched = Watched(breaker, probes)

    async def main() -> str:
        await asyncio.gather(*[watched.call(caller) for caller in plan])
        state = breaker.state()
        await asyncio.sleep(COOLDOWN)
        for _ in range(probes):  # whatever has happened, no slot is taken
            await effect(breaker)(asyncio.sleep)(0)
        assert breaker.state() == "closed"
        return state

    with _virtual(), asyncio.Runner() as runner:
        state = runner.run(main())
    assert set(watched.inside.values()) <= {0}
    assert all(0 < wait <= COOLDOWN for wait in watched.waits)
    event(f"{state} in the end, {'some' if watched.waits else 'none'} refused")


@pytest.mark.parametrize("loop", LOOPS)
def test_no_more_than_the_probes_are_inside_across_threads(loop: str) -> None:
    for seed in range(3):
        storms.probes(seed, threads=4, callers=100, make=LOOPS[loop])
