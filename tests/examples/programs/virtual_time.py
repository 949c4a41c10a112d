"""Tests as a user writes them: retries and a breaker in virtual time."""

import httpx
import pytest

from mountain_runtime import CircuitBreaker, Pipeline, Retry, Timeout, constant, effect, exponential
from mountain_runtime.errors import CircuitOpen
from mountain_runtime.testing import VirtualClock


class Flaky:
    def __init__(self, failures: int) -> None:
        self.calls = 0
        self.failures = failures

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise httpx.ConnectError("down")
        return "ok"


async def test_backs_off(virtual_clock: VirtualClock) -> None:
    flaky = Flaky(failures=3)
    policy = Retry(on=httpx.TransportError, attempts=4, backoff=exponential(1, max=60, jitter="none"))
    assert await policy.call(flaky) == "ok"  # jumps 1 + 2 + 4
    assert (flaky.calls, virtual_clock.time()) == (4, 7.0)


async def test_total_beats_attempts(virtual_clock: VirtualClock) -> None:
    flaky = Flaky(failures=99)
    policy = Pipeline(Timeout(5), Retry(on=httpx.TransportError, attempts=None, backoff=constant(2)), name="t")
    with pytest.raises(httpx.ConnectError):
        await policy.call(flaky)
    assert virtual_clock.time() == 4.0  # the next attempt would begin after the Timeout


async def test_breaker_opens_and_probes(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=3, cooldown=30)
    flaky = Flaky(failures=3)
    call = effect(breaker)(flaky)
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await call()
    with pytest.raises(CircuitOpen):
        await call()
    assert flaky.calls == 3
    await virtual_clock.advance(30)
    assert await call() == "ok"
    assert breaker.state() == "closed"
