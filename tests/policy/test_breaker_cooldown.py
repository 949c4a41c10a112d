"""CircuitBreaker, open: for how long, and how it ends."""

import time

import pytest

from mountain_runtime import CircuitBreaker, Retry, effect, exponential
from mountain_runtime.errors import CircuitOpen
from mountain_runtime.testing import VirtualClock

from .support import AT_ONCE, LONG, Boom, outcome
from .trials import does, feed

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


@virtual
async def test_it_stays_open_for_its_cooldown(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=3600)
    call = effect(breaker)(does)
    await outcome(call(Boom()))
    await virtual_clock.advance(3000)
    refused = await outcome(call(1))
    assert isinstance(refused, CircuitOpen)
    assert refused.retry_after == 600.0
    await virtual_clock.advance(599)
    assert breaker.state() == "open"
    await virtual_clock.advance(1)
    assert breaker.state() == "half_open"
    assert await call("well again") == "well again"
    assert breaker.state() == "closed"


@virtual
async def test_a_cooldown_that_is_a_backoff_grows_with_each_opening_in_a_row(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=exponential(10, max=60, jitter="none"))
    call = effect(breaker)(does)
    waits = []
    for _ in range(5):
        await outcome(call(Boom()))
        refused = await outcome(call(1))
        assert isinstance(refused, CircuitOpen)
        waits.append(refused.retry_after)
        await virtual_clock.advance(refused.retry_after)
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0]
    assert await call(1) == 1
    await outcome(call(Boom()))
    refused = await outcome(call(1))
    assert isinstance(refused, CircuitOpen)
    assert refused.retry_after == 10.0


@virtual
async def test_a_retry_that_names_it_waits_it_out(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=30)
    await outcome(effect(breaker)(does)(Boom()))
    patient = Retry(on=lambda e: e.retry_after if isinstance(e, CircuitOpen) else False, attempts=2)
    assert await effect(patient, breaker)(does)(1) == 1
    assert virtual_clock.time() == 30.0


async def test_isolated_it_refuses_until_it_is_reset() -> None:
    breaker = CircuitBreaker(failures=1, cooldown=0)
    call = effect(breaker)(does)
    breaker.isolate()
    assert breaker.state() == "isolated"
    with pytest.raises(CircuitOpen, match="until it is reset") as refused:
        await call(1)
    assert refused.value.retry_after == float("inf")
    breaker.reset()
    assert breaker.state() == "closed"
    assert await call(1) == 1
    endless = CircuitBreaker(failures=1, cooldown=float("inf"))
    await feed(endless, False)
    assert endless.state() == "open"
    refusal = await outcome(effect(endless)(does)(1))
    assert isinstance(refusal, CircuitOpen)
    assert refusal.retry_after == float("inf")


async def test_wall_clock_time_is_nothing_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """L6."""
    breaker = CircuitBreaker(failures=1)
    await feed(breaker, False)
    for hour in (3600, -3600):
        now = time.time() + hour
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=now: now)
            refused = await outcome(effect(breaker)(does)(1))
        assert isinstance(refused, CircuitOpen)
        assert LONG - AT_ONCE < refused.retry_after <= LONG
