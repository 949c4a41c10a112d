"""CircuitBreaker: what opens it, what counts and what does not."""

import asyncio
import time

import pytest

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    RateLimit,
    Retry,
    Timeout,
    blocking,
    constant,
    deadline,
    effect,
)
from mountain_runtime.errors import CircuitOpen, MountainError, RateLimited, Rejected, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import AT_ONCE, LONG, SOON, Boom, Crash, Stop, Watch, forever, outcome
from .trials import does, feed

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


async def test_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(failures=3)
    assert await feed(breaker, False, False, True, False, False) == ["closed"] * 5
    assert await feed(breaker, False) == ["open"]


async def test_it_says_who_why_and_until_when() -> None:
    breaker = CircuitBreaker(name="github", failures=1)
    call = effect(breaker, name="stars")(does)
    with pytest.raises(Boom):
        await call(Boom())
    with Watch() as watch, pytest.raises(CircuitOpen) as refused:
        await call(5)
    assert watch.took < AT_ONCE
    error = refused.value
    assert isinstance(error, Rejected)
    assert isinstance(error, MountainError)
    assert (error.effect, error.attempt) == ("stars", 1)
    assert error.policy == repr(breaker) == "CircuitBreaker(name='github', failures=1)"
    assert 30 - AT_ONCE < error.retry_after <= 30
    assert "'stars' was not started" in str(error)
    assert repr(breaker) in str(error)
    assert f"in {error.retry_after:.3f} s" in str(error)


async def test_a_rate_of_failures_opens_it_when_enough_were_called() -> None:
    breaker = CircuitBreaker(failure_rate=0.5, minimum_calls=6)
    assert await feed(breaker, False, False, False, True, True) == ["closed"] * 5  # three of five: too few to judge
    assert await feed(breaker, True) == ["open"]  # three of six
    breaker = CircuitBreaker(failure_rate=0.3, minimum_calls=10)
    assert (await feed(breaker, *[True] * 8, False, False))[-1] == "closed"
    assert await feed(breaker, True, False) == ["closed", "closed"]  # three of twelve are a quarter
    assert await feed(breaker, False) == ["open"]  # four of thirteen


@virtual
async def test_the_rate_is_that_of_the_window(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failure_rate=0.5, minimum_calls=4, window=60)
    assert (await feed(breaker, False, False, False))[-1] == "closed"
    await virtual_clock.advance(61)  # those do not count any more
    assert (await feed(breaker, True, True, False))[-1] == "closed"
    await virtual_clock.advance(30)
    assert await feed(breaker, False) == ["open"]


@virtual
async def test_slow_calls_open_it(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(slow_call=2, slow_rate=0.5, minimum_calls=4)
    call = effect(breaker)(asyncio.sleep)
    for seconds in (1.9, 2.1, 2.0):  # slow is what takes longer
        await call(seconds)
    assert breaker.state() == "closed"
    assert await call(3, "an answer all the same") == "an answer all the same"
    assert breaker.state() == "open"
    with pytest.raises(CircuitOpen):
        await call(0)


@virtual
async def test_the_wait_for_what_stands_inside_is_not_slowness(virtual_clock: VirtualClock) -> None:
    """The dependency answers at once: it is the limits that are slow."""
    breaker = CircuitBreaker(slow_call=2, slow_rate=0.1, minimum_calls=1)
    call = effect(Timeout(LONG * 10), breaker, ConcurrencyLimit(1), RateLimit(1, per=10))(asyncio.sleep)
    await asyncio.gather(*[call(1) for _ in range(5)])
    assert virtual_clock.time() == 41.0
    assert breaker.state() == "closed"


# -- what counts ---------------------------------------------------------------------------------------------


async def test_failures_are_what_on_names() -> None:
    breaker = CircuitBreaker(failures=1, on=(Boom, OSError))
    call = effect(breaker)(does)
    for nothing in (ValueError(), asyncio.CancelledError(), Stop(), Rejected(), GeneratorExit()):
        with pytest.raises(type(nothing)):
            await call(nothing)
        assert breaker.state() == "closed"
    for failure in (Boom(), Crash(), OSError(), ConnectionResetError()):
        with pytest.raises(type(failure)):
            await call(failure)
        assert breaker.state() == "open"
        breaker.reset()


async def test_an_error_that_on_does_not_name_is_nothing() -> None:
    """Neither a failure nor a success: it does not end a run of failures."""
    breaker = CircuitBreaker(failures=2, on=Boom)
    call = effect(breaker)(does)
    await outcome(call(Boom()))
    await outcome(call(ValueError()))
    assert breaker.state() == "closed"
    await outcome(call(Boom()))
    assert breaker.state() == "open"


async def test_cancels_of_callers_are_nothing_and_timeouts_count_once_each() -> None:
    """L2."""
    breaker = CircuitBreaker(failures=5, on=ValueError)
    hangs = effect(breaker)(forever)
    tasks = [asyncio.create_task(hangs()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert breaker.state() == "closed"
    inside, outside = effect(breaker, Timeout(SOON))(forever), effect(Timeout(SOON), breaker)(forever)
    both = effect(Timeout(SOON), breaker, Timeout(SOON))(forever)
    for call in (inside, outside, both, inside):
        assert isinstance(await outcome(call()), TimedOut)
        assert breaker.state() == "closed"
    assert isinstance(await outcome(outside()), TimedOut)
    assert breaker.state() == "open"


async def test_a_deadline_from_outside_counts_as_well() -> None:
    breaker = CircuitBreaker(failures=2)
    hangs = effect(breaker)(forever)

    async def in_deadline() -> None:
        async with deadline(SOON):
            await hangs()

    @effect(Timeout(SOON))
    async def in_effect() -> None:
        await hangs()

    assert isinstance(await outcome(in_deadline()), TimedOut)
    assert breaker.state() == "closed"
    assert isinstance(await outcome(in_effect()), TimedOut)
    assert breaker.state() == "open"


async def test_a_thread_that_is_late_counts_once() -> None:
    breaker = CircuitBreaker(failures=2)
    slow = blocking(Timeout(SOON), breaker)(time.sleep)
    assert isinstance(await outcome(slow(SOON * 2)), TimedOut)
    await asyncio.sleep(SOON * 5)  # until its thread has ended, which has no waiter
    assert breaker.state() == "closed"
    assert isinstance(await outcome(slow(SOON * 2)), TimedOut)
    assert breaker.state() == "open"


async def test_a_limit_inside_that_refuses_is_nothing() -> None:
    breaker = CircuitBreaker(failures=1)
    limit = RateLimit(1, per=LONG, max_wait=0)
    call = effect(breaker, limit)(does)
    await call(1)
    for _ in range(3):
        with pytest.raises(RateLimited):
            await call(1)
    assert breaker.state() == "closed"


async def test_retries_inside_are_one_call_and_retries_outside_are_each_their_own() -> None:
    again = Retry(on=Boom, attempts=3, backoff=constant(0))
    breaker = CircuitBreaker(failures=3)
    with pytest.raises(Boom):
        await effect(breaker, again)(does)(Boom())
    assert breaker.state() == "closed"
    breaker.reset()
    with pytest.raises(Boom):
        await effect(again, breaker)(does)(Boom())
    assert breaker.state() == "open"


async def test_a_retry_outside_ends_when_it_opens() -> None:
    """Rejected is not retried; the error says which attempt it would have been."""
    breaker = CircuitBreaker(failures=2)
    calls = 0

    @effect(Retry(on=Exception, attempts=10, backoff=constant(0)), breaker)
    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise Boom

    with pytest.raises(CircuitOpen) as refused:
        await fails()
    assert calls == 2
    assert refused.value.attempt == 3


async def test_a_call_from_before_counts_for_nothing_after() -> None:
    """It tells of how things were: a reset begins anew."""
    breaker = CircuitBreaker(failures=1)
    gate = asyncio.Event()

    @effect(breaker)
    async def call() -> None:
        await gate.wait()
        raise Boom

    tasks = [asyncio.create_task(call()) for _ in range(3)]
    await asyncio.sleep(0)
    breaker.reset()
    breaker.isolate()
    breaker.reset()
    gate.set()
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), Boom) for task in tasks)
    assert breaker.state() == "closed"
