"""`open_circuit` and `exhaust`: policies in the state that a test is about."""

import asyncio
import threading
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, RateLimit, Retry, effect
from mountain_runtime.errors import CircuitOpen, ConfigError, RateLimited
from mountain_runtime.testing import VirtualClock, exhaust, open_circuit


async def call(key: str = "") -> str:
    return f"called {key}"


async def test_a_breaker_that_is_opened_is_as_if_it_had_failed(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(cooldown=30, probes=2)
    work = effect(breaker)(call)
    open_circuit(breaker)
    assert breaker.state() == "open"
    with pytest.raises(CircuitOpen) as refused:
        await work()
    assert refused.value.retry_after == 30.0
    await virtual_clock.advance(30)
    assert breaker.state() == "half_open"
    await work()
    await work()
    assert breaker.state() == "closed"


async def test_one_key_is_opened(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(key=lambda key: key)
    open_circuit(breaker, "a")
    with pytest.raises(CircuitOpen):
        await effect(breaker)(call)("a")
    assert await effect(breaker)(call)("b") == "called b"
    breaker.isolate("b")
    open_circuit(breaker, "b")
    assert breaker.state("b") == "isolated"


@pytest.mark.parametrize(
    ("n", "per", "burst", "wait"),
    [(5, 60, None, 60.0), (1.5, 60, None, 60.0), (5, 60, 20, 12.0), (1000, 1, 1, 0.001)],
)
async def test_a_limit_that_is_exhausted_has_room_later(
    virtual_clock: VirtualClock, n: float, per: float, burst: float | None, wait: float
) -> None:
    limit = RateLimit(n, per, burst=burst)
    exhaust(limit)
    await effect(limit)(call)()
    assert virtual_clock.time() == wait


async def test_one_key_is_exhausted_and_refuses(virtual_clock: VirtualClock) -> None:
    limit = RateLimit(5, per=60, max_wait=1, key=lambda key: key)
    work = effect(limit)(call)
    exhaust(limit, "a")
    with pytest.raises(RateLimited) as refused:
        await work("a")
    assert refused.value.retry_after == 60.0
    assert await work("b") == "called b"
    patient = Retry(on=lambda error: getattr(error, "retry_after", False), attempts=2)
    assert await work("a").under(patient) == "called a"
    assert virtual_clock.time() == 60.0


@pytest.mark.parametrize(
    "free", [RateLimit(float("inf"), per=1), RateLimit(5, per=0), RateLimit(5, per=1, burst=float("inf"))], ids=repr
)
def test_what_is_no_limit_cannot_be_exhausted(free: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be exhausted"):
        exhaust(free)


async def test_what_a_policy_does_for_itself_moves_no_time(virtual_clock: VirtualClock) -> None:
    """It looks after its keys now and then: with nothing else to wait for, time would run on for ever."""
    breaker = CircuitBreaker(key=lambda key: key)
    breaker.isolate("a")
    future = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    # Really a while, in which time could move.
    threading.Timer(0.2, lambda: loop.call_soon_threadsafe(future.set_result, None)).start()
    await future
    assert virtual_clock.time() == 0.0
    await virtual_clock.advance(3600)
    assert breaker._circuit.keys == 1
    breaker.reset("a")
    await virtual_clock.advance(60)
    assert breaker._circuit.keys == 0
