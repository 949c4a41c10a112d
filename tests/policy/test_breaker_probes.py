"""CircuitBreaker, half-open: the exact number of probes, whatever the caller, and the fate of their places."""

import asyncio
import random
from typing import Any

import pytest

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    RateLimit,
    Retry,
    Timeout,
    _native,
    constant,
    effect,
    exponential,
)
from mountain_runtime.errors import CircuitOpen, Rejected, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, SOON, Boom, forever, outcome

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


async def fails() -> None:
    raise Boom


async def half_open(**settings: Any) -> CircuitBreaker:
    """One whose first cooldown is over; the next one is long."""
    cooldown = exponential(SOON, max=LONG, factor=LONG / SOON, jitter="none")
    breaker = CircuitBreaker(failures=1, cooldown=cooldown, **settings)
    await outcome(effect(breaker, Timeout(0))(forever)())
    while breaker.state() != "half_open":
        await asyncio.sleep(SOON / 4)  # its cooldown: there is nothing to wait on
    return breaker


class Gate:
    """The probes' target: it counts the calls in it, and lets them out with a given outcome."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.within = 0
        self.calls = 0
        self.most = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        self.calls += 1
        self.within += 1
        self.most = max(self.most, self.within)
        try:
            await self.opened.wait()
            if self.error is not None:
                raise self.error
            return "well"
        finally:
            self.within -= 1


@pytest.mark.parametrize("retry", [None, Exception, Rejected], ids=["alone", "retry", "retry of Rejected"])
@pytest.mark.parametrize("probes", [1, 3, 10])
async def test_of_a_hundred_callers_so_many_are_probes(probes: int, retry: Any) -> None:
    """L1: also with a retry around, which knocks again and again if it is told to."""
    breaker = await half_open(probes=probes)
    gate = Gate()
    around = () if retry is None else (Retry(on=retry, attempts=3, backoff=constant(0)),)
    call = effect(*around, breaker)(gate)
    tasks = [asyncio.create_task(outcome(call())) for _ in range(100)]
    done, waiting = await asyncio.wait(tasks, timeout=SOON * 5)  # a time in which all the others are refused
    assert (gate.calls, len(done), len(waiting)) == (probes, 100 - probes, probes)
    assert all(isinstance(task.result(), CircuitOpen) for task in done)
    assert all(0 < task.result().retry_after <= 1 for task in done)  # the end of the probes is unknown
    assert breaker.state() == "half_open"
    gate.opened.set()
    await asyncio.wait(waiting)
    assert [task.result() for task in waiting] == ["well"] * probes
    assert breaker.state() == "closed"
    assert await call() == "well"


async def test_a_probe_that_fails_opens_it_at_once_and_the_others_are_nothing_then() -> None:
    breaker = await half_open(probes=3)
    gate = Gate()
    slow = [asyncio.create_task(outcome(effect(breaker)(gate)())) for _ in range(2)]
    await asyncio.sleep(0)
    assert isinstance(await outcome(effect(breaker)(fails)()), Boom)
    assert breaker.state() == "open"
    gate.opened.set()
    await asyncio.wait(slow)
    assert [task.result() for task in slow] == ["well", "well"]
    assert breaker.state() == "open"
    refused = await outcome(effect(breaker)(gate)())
    assert isinstance(refused, CircuitOpen)
    assert refused.retry_after > LONG / 2


async def test_a_probe_that_says_nothing_frees_its_slot() -> None:
    """Cancelled, refused by what is inside, or failed with what `on` does not name."""
    breaker = await half_open(on=Boom)
    gate = Gate()
    limit = RateLimit(1, per=LONG, max_wait=0)
    await limit.acquire()

    @effect(breaker)
    async def odd() -> None:
        raise ValueError

    task = asyncio.create_task(effect(breaker)(gate)())
    await asyncio.sleep(0)
    assert isinstance(await outcome(effect(breaker)(gate)()), CircuitOpen)
    task.cancel()
    await asyncio.wait([task])
    for _ in range(3):
        assert isinstance(await outcome(odd()), ValueError)
        assert not isinstance(await outcome(effect(breaker, limit)(gate)()), CircuitOpen)
        assert breaker.state() == "half_open"
    gate.opened.set()
    assert await effect(breaker)(gate)() == "well"
    assert breaker.state() == "closed"


async def test_a_probe_that_times_out_has_failed() -> None:
    for policies in ((Timeout(SOON),), ()):
        breaker = await half_open(on=ValueError)
        call = effect(breaker, *policies)(forever)()
        assert isinstance(await outcome(call if policies else call.under(Timeout(SOON))), TimedOut)
        assert breaker.state() == "open"


async def test_a_probe_takes_its_slot_when_what_is_inside_has_let_it_in() -> None:
    """A call that waits for a limit inside is no probe yet, and no call is refused for its sake."""
    breaker = await half_open(probes=1)
    place = ConcurrencyLimit(1)
    gate = Gate()
    async with place.slot():
        waiting = [asyncio.create_task(outcome(effect(breaker, place)(gate)())) for _ in range(5)]
        await asyncio.sleep(0)
        assert gate.calls == 0
        probe = asyncio.create_task(effect(breaker)(gate)())  # it does not wait, so it is the probe
        await asyncio.sleep(0)
        assert gate.calls == 1
        assert isinstance(await outcome(effect(breaker)(gate)()), CircuitOpen)
    # Now they are let in, one after the other, and find that there is a probe.
    done, _ = await asyncio.wait(waiting)
    assert all(isinstance(task.result(), CircuitOpen) for task in done)
    assert gate.calls == 1
    gate.opened.set()
    assert await probe == "well"
    assert breaker.state() == "closed"
    assert place.statistics().in_flight == 0


@virtual
async def test_who_waited_inside_is_judged_by_how_it_is_when_he_begins(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=30)
    limit = RateLimit(1, per=60)
    await limit.acquire()
    closed = asyncio.create_task(effect(breaker, limit)(asyncio.sleep)(0, "closed when it came"))
    await asyncio.sleep(10)
    await outcome(effect(breaker)(fails)())
    assert breaker.state() == "open"
    assert await closed == "closed when it came"
    assert virtual_clock.time() == 60.0
    limit = RateLimit(1, per=10)
    await limit.acquire()
    late = asyncio.create_task(outcome(effect(breaker, limit)(asyncio.sleep)(0)))
    await asyncio.sleep(5)
    await outcome(effect(breaker)(fails)())
    refused = await late
    assert isinstance(refused, CircuitOpen)
    assert refused.retry_after == 25.0


async def test_nested_breakers_each_see_their_own() -> None:
    """The inner one's refusal is nothing to the outer one; half-open, a call takes a slot of both or of none."""
    outer, inner = CircuitBreaker(failures=2), CircuitBreaker(failures=1)
    call = effect(outer, inner)(fails)
    assert isinstance(await outcome(call()), Boom)
    for _ in range(5):
        refused = await outcome(call())
        assert isinstance(refused, CircuitOpen)
        assert refused.policy == repr(inner)
    assert (outer.state(), inner.state()) == ("closed", "open")
    inner.reset()
    assert isinstance(await outcome(call()), Boom)
    assert (outer.state(), inner.state()) == ("open", "open")
    refused = await outcome(call())
    assert isinstance(refused, CircuitOpen)
    assert refused.policy == repr(outer)

    outer, inner = await half_open(probes=1), await half_open(probes=2)
    gate = Gate()
    probe = asyncio.create_task(effect(outer)(gate)())
    await asyncio.sleep(0)
    for _ in range(5):
        assert isinstance(await outcome(effect(outer, inner)(gate)()), CircuitOpen)
        assert isinstance(await outcome(effect(inner, outer)(gate)()), CircuitOpen)
    both = [asyncio.create_task(effect(inner)(gate)()) for _ in range(2)]
    await asyncio.sleep(0)
    assert gate.calls == 3
    gate.opened.set()
    assert await asyncio.gather(probe, *both) == ["well"] * 3
    assert (outer.state(), inner.state()) == ("closed", "closed")


async def test_cancels_at_any_moment_leave_no_slot_taken() -> None:
    """T2: of a crowd that is cancelled here and there, never more than the probes are in, and all slots come back."""
    dice = random.Random(3)
    breaker = await half_open(probes=2, on=ValueError)
    place = ConcurrencyLimit(3)
    gate = Gate()
    call = effect(Timeout(LONG), breaker, place)(gate)
    for _ in range(200):
        tasks = [asyncio.create_task(call()) for _ in range(6)]
        for task in tasks:
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() or isinstance(task.exception(), CircuitOpen) for task in tasks)
        assert breaker.state() == "half_open"
    assert (gate.within, gate.most) == (0, 2)
    gate.opened.set()
    assert await asyncio.gather(call(), call()) == ["well", "well"]
    assert breaker.state() == "closed"
    assert place.statistics().in_flight == 0
    assert _native.statistics()["timers"] == 0
