"""Calls come, give up and are cancelled: no window holds too much, turns come in order, no caller is left waiting."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop
from hypothesis import event, example, given
from hypothesis import strategies as st

from mountain_runtime import Effect, Priority, RateLimit, Timeout, _native, deadline, effect, priority
from mountain_runtime.errors import RateLimited, TimedOut
from mountain_runtime.testing import VirtualClock, _virtual

from . import storms

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

#: Most of them fall together often.
seconds = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 0.123, 7.77])


@dataclass(frozen=True)
class Caller:
    comes: float
    cost: float
    #: After so many seconds it is cancelled, or its time is up: by a Timeout, or by a deadline.
    ends: float | None
    how: str
    urgency: Priority = Priority.NORMAL


callers = st.builds(
    Caller,
    comes=seconds,
    cost=st.sampled_from([1, 1, 1, 2, 0.5, 3, 0]),
    ends=st.none() | seconds,
    how=st.sampled_from(["cancel", "timeout", "deadline"]),
    urgency=st.sampled_from(Priority),
)


@dataclass
class Log:
    """Callers in the order in which they came and started; the starts with their time, in nanoseconds, and cost."""

    clock: VirtualClock
    came: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    starts: list[tuple[int, float]] = field(default_factory=list)

    def now(self) -> int:
        return round(self.clock.time() * 1e9)


async def play(log: Log, limit: RateLimit, plan: list[Caller], pause: tuple[float, float] | None) -> None:
    @effect(limit)
    async def start(number: int, cost: float) -> None:
        log.started.append(number)
        log.starts.append((log.now(), cost))

    async def ask(number: int, work: Effect[Any]) -> None:
        log.came.append(number)
        try:
            await work
        except (RateLimited, TimedOut):
            pass

    async def call(number: int, caller: Caller) -> None:
        await asyncio.sleep(caller.comes)
        work = start(number, caller.cost)
        if caller.ends is None:
            await ask(number, work)
        elif caller.how == "timeout":
            await ask(number, work.under(Timeout(caller.ends)))
        elif caller.how == "deadline":
            try:
                async with deadline(caller.ends):
                    await ask(number, work)
            except TimedOut:
                pass
        else:
            task = asyncio.create_task(ask(number, work))
            await asyncio.wait([task], timeout=caller.ends)
            await asyncio.sleep(0)  # a task that has taken no step would warn of an effect that was never awaited
            task.cancel()
            await asyncio.wait([task])

    async def pauses() -> None:
        if pause is not None:
            await asyncio.sleep(pause[0])
            limit.pause(pause[1])

    async def urgent(number: int, caller: Caller) -> None:
        with priority(caller.urgency):
            await call(number, caller)

    await asyncio.gather(pauses(), *[urgent(n, caller) for n, caller in enumerate(plan)])


@given(
    n=st.sampled_from([1, 2, 3, 5]),
    per=st.sampled_from([1.0, 2.0, 0.5]),
    burst=st.none() | st.sampled_from([1, 2, 4]),
    max_wait=st.none() | seconds,
    pause=st.none() | st.tuples(seconds, seconds),
    plan=st.lists(callers, min_size=1, max_size=20),
)
@example(n=2, per=1.0, burst=None, max_wait=None, pause=(0.5, 3.0), plan=[Caller(0.0, 1, None, "cancel")] * 5)
def test_no_window_holds_more_in_virtual_time(
    n: int,
    per: float,
    burst: int | None,
    max_wait: float | None,
    pause: tuple[float, float] | None,
    plan: list[Caller],
) -> None:
    """Exactly, to the nanosecond: in virtual time a start is when the engine says that it is."""
    limit = RateLimit(n, per, burst=burst, max_wait=max_wait, cost=lambda _, cost: cost)
    with _virtual() as clock, asyncio.Runner() as runner:
        log = Log(clock)
        runner.run(play(log, limit, plan, pause))
    assert limit._rates.waiting == 0
    assert _native.statistics()["timers"] == 0
    for first, (begin, _) in enumerate(log.starts):
        used = 0.0
        for at, cost in log.starts[first:]:
            used += cost
            if burst is not None:
                # A turn is rounded up to the nanosecond, and the costs to millionths: neither makes it more.
                assert used <= burst + n * (at - begin) / (per * 1e9) + 1e-6
            elif at - begin < per * 1e9:
                assert used <= n
    if pause is not None:
        begin, end = (round(sum(pause[:k]) * 1e9) for k in (1, 2))
        assert not [at for at, _ in log.starts if begin < at < end]
    # Of those whose turn comes in one instant, any may take the first step.
    when = {number: at for number, (at, cost) in zip(log.started, log.starts, strict=True) if cost}
    for urgency in Priority:
        turns = [when[number] for number in log.came if number in when and plan[number].urgency is urgency]
        assert turns == sorted(turns)
    # A high one is passed by no lower one that came later, unless that one had waited for as long as its patience.
    came = {number: at for at, number in enumerate(log.came)}
    for late in when:
        before = [n for n in when if plan[n].urgency > plan[late].urgency and came[n] < came[late]]
        overtaken = [n for n in before if when[n] > when[late]]
        passed = [n for n in when if plan[n].urgency > plan[late].urgency and when[n] <= when[late]]
        assert not overtaken or len(passed) >= 4
    event(f"{len(log.started) * 10 // len(plan) * 10} percent started")


@pytest.mark.parametrize("burst", [False, True], ids=["strict", "bucket"])
@pytest.mark.parametrize("loop", LOOPS)
def test_no_window_holds_more_across_threads(loop: str, burst: bool) -> None:
    storms.rates(1, threads=4, callers=20, make=LOOPS[loop], burst=burst)
