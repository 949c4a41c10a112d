"""The policies that queue, count and remember: what each adds to a call, and how they do when a crowd wants the same.

No call waits in `limit`, `rate`, `breaker`, `cache-hit` and `stack`: limits are high and nothing fails. These measure
the price of being ready for it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.workloads import LEAST, added, in_pairs, one_after_another, side_by_side
from mountain_runtime import Cache, CircuitBreaker, ConcurrencyLimit, Policy, RateLimit, Retry, Timeout, effect

CASES: Mapping[str, tuple[str, ...]] = {
    "limit": ("asyncio.Semaphore",),
    "rate": ("aiolimiter",),
    "breaker": ("aiobreaker", "purgatory"),
    "cache-hit": ("async-lru",),
    "stack": ("pyresilience",),
    "contended": ("asyncio.Semaphore",),
    "waiters": ("aiolimiter",),
}

#: So many that no call waits.
MANY = 1_000_000_000
PERMITS = 10
HOUR = 3600.0
#: Turns, and in how many seconds: slower than callers come, so that all but the first wait; and so that no call goes.
OFTEN, NEVER = (1000, 0.05), (1, HOUR)
#: A smaller figure cannot be told from nothing: percent.
PERCENT = 0.01

BUCKET = OURS_TOO + "bucket"
BY_RATE = OURS_TOO + "failure rate"
SLOT = OURS_TOO + "slot"
UNLIMITED = OURS_TOO + "no limit"
BARE = OURS_TOO + "bare"

Call = Callable[[int], Awaitable[int]]
Block = Callable[[], AbstractAsyncContextManager[object]]


class Flaky(Exception):
    """The error that would be retried."""


async def trivial(number: int) -> int:
    """A call that has its answer at once."""
    return number


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The seven cases."""
    for contest in (_limit, _rate, _breaker, _cache_hit, _stack, _contended, _waiters):
        yield contest(scale)


# -- what a policy adds ---------------------------------------------------------------------------------------------


def _limit(scale: Scale) -> Contest:
    semaphore = asyncio.Semaphore(MANY)

    async def with_semaphore(number: int) -> int:
        async with semaphore:
            return number

    limit = ConcurrencyLimit(MANY)

    async def with_slot(number: int) -> int:
        async with limit.slot():
            return number

    peers = {"asyncio.Semaphore": with_semaphore, SLOT: with_slot}
    slot = _beside("limit", "asyncio.Semaphore, ours by slot()", SLOT, "asyncio.Semaphore")
    return _added("limit", scale, {OURS: ConcurrencyLimit(MANY)}, peers, slot)


def _rate(scale: Scale) -> Contest:
    peers: dict[str, Call] = {}
    if aiolimiter := optional("aiolimiter"):
        limiter = aiolimiter.AsyncLimiter(MANY, 1)

        async def with_limiter(number: int) -> int:
            async with limiter:
                return number

        peers["aiolimiter"] = with_limiter
    ours = {OURS: RateLimit(MANY, per=1), BUCKET: RateLimit(MANY, per=1, burst=MANY)}
    bucket = _beside("rate", "aiolimiter, ours a token bucket", BUCKET, "aiolimiter")
    return _added("rate", scale, ours, peers, bucket)


def _breaker(scale: Scale) -> Contest:
    peers: dict[str, Call] = {}
    if aiobreaker := optional("aiobreaker"):
        peers["aiobreaker"] = aiobreaker.CircuitBreaker(fail_max=5)(trivial)
    if purgatory := optional("purgatory"):
        peers["purgatory"] = purgatory.AsyncCircuitBreakerFactory(default_threshold=5)("trivial")(trivial)
    # The peers count failures in a row. By default ours looks at the part that failed in the last minute.
    ours = {OURS: CircuitBreaker(failures=5), BY_RATE: CircuitBreaker()}
    by_rate = _beside("breaker", "purgatory, ours by failure rate", BY_RATE, "purgatory")
    return _added("breaker", scale, ours, peers, by_rate)


def _added(case: str, scale: Scale, ours: Mapping[str, Policy], peers: Mapping[str, Call], *extras: Extra) -> Contest:
    """Each with its policy, less the same without: an effect of no policies, and the bare function."""
    numbers = range(scale.pick(full=1000, quick=1000, tiny=20))
    bare = effect(trivial)
    pairs = {name: (bare, effect(policy)(trivial)) for name, policy in ours.items()}
    pairs |= {name: (trivial, call) for name, call in peers.items()}
    turns = {
        name: partial(added, partial(one_after_another, without), partial(one_after_another, call), numbers)
        for name, (without, call) in pairs.items()
    }
    rounds = scale.pick(full=100, quick=40, tiny=2)
    return Contest(rounds, turns, in_pairs(numbers), (Measure(case, "us"),), extras)


def _beside(case: str, label: str, ours: str, peer: str, unit: str = "us", which: int = 0, least: float = 0.0) -> Extra:
    """A row for another way of ours, or for another figure."""
    mine, theirs = partial(_figures, ours, which), partial(_figures, peer, which)
    return Extra(case, label, unit, mine, theirs, needs=(ours, peer), resolution=least)


def _figures(name: str, which: int, samples: Samples) -> list[float]:
    return figures(samples[name], which)


# -- whole calls ----------------------------------------------------------------------------------------------------


def _cache_hit(scale: Scale) -> Contest:
    """The value is there from the warm-up on."""
    calls: dict[str, Call] = {OURS: effect(Cache(ttl=HOUR))(trivial)}
    if async_lru := optional("async_lru"):
        calls["async-lru"] = async_lru.alru_cache(maxsize=1024, ttl=HOUR)(trivial)
    return _whole("cache-hit", scale, calls, [1] * scale.pick(full=1000, quick=1000, tiny=20))


def _stack(scale: Scale) -> Contest:
    policies = (
        ConcurrencyLimit(MANY),
        RateLimit(MANY, per=1),
        CircuitBreaker(),
        Retry(on=Flaky, attempts=3),
        Timeout(5),
    )
    calls: dict[str, Call] = {OURS: effect(*policies)(trivial)}
    if pyresilience := optional("pyresilience"):
        calls["pyresilience"] = pyresilience.resilient(
            bulkhead=pyresilience.BulkheadConfig(max_concurrent=MANY),
            rate_limiter=pyresilience.RateLimiterConfig(max_calls=MANY, period=1),
            circuit_breaker=pyresilience.CircuitBreakerConfig(),
            retry=pyresilience.RetryConfig(max_attempts=3, retry_on=(Flaky,)),
            timeout=pyresilience.TimeoutConfig(seconds=5),
        )(trivial)
    calls[BARE] = trivial
    label = "overhead over bare"
    overhead = Extra("stack", label, "us", _over_bare(OURS), _over_bare("pyresilience"), ("pyresilience",), LEAST)
    numbers = range(scale.pick(full=1000, quick=500, tiny=20))
    return _whole("stack", scale, calls, numbers, overhead)


def _whole(case: str, scale: Scale, calls: Mapping[str, Call], numbers: Sequence[int], *extras: Extra) -> Contest:
    turns = {name: partial(one_after_another, call, numbers) for name, call in calls.items()}
    rounds = scale.pick(full=100, quick=40, tiny=2)
    return Contest(rounds, turns, list(numbers), (Measure(case, "us"),), extras)


def _over_bare(name: str) -> Callable[[Samples], list[float]]:
    def less(samples: Samples) -> list[float]:
        pairs = zip(figures(samples[name]), figures(samples[BARE]), strict=True)
        return [whole - bare for whole, bare in pairs]

    return less


# -- crowds ---------------------------------------------------------------------------------------------------------


def _contended(scale: Scale) -> Contest:
    """Tasks that take a permit, give way to the loop once, and give it back."""
    tasks = scale.pick(full=1000, quick=1000, tiny=50)

    def in_blocks(block: Block) -> Round:
        return partial(_crowd, partial(_in_block, block), tasks)

    semaphore, limit = asyncio.Semaphore(PERMITS), ConcurrencyLimit(PERMITS)
    of_ours = effect(ConcurrencyLimit(PERMITS))(_work)
    turns: dict[str, Round] = {
        OURS: partial(_crowd, of_ours, tasks),
        SLOT: in_blocks(limit.slot),
        "asyncio.Semaphore": in_blocks(lambda: semaphore),
        UNLIMITED: partial(_crowd, _unlimited, tasks),
    }
    slot = _beside("contended", "asyncio.Semaphore, ours by slot()", SLOT, "asyncio.Semaphore")
    floor = _beside("contended", "asyncio.Semaphore, ours no limit at all", UNLIMITED, "asyncio.Semaphore")
    expected = (list(range(tasks)), PERMITS)
    return Contest(scale.pick(full=50, quick=20, tiny=2), turns, expected, (Measure("contended", "us"),), (slot, floor))


class Inside:
    """How many are at work, and how many were at most."""

    __slots__ = ("most", "now")

    def __init__(self) -> None:
        self.now = 0
        self.most = 0


async def _work(inside: Inside, number: int) -> int:
    inside.now += 1
    inside.most = max(inside.most, inside.now)
    await asyncio.sleep(0)
    inside.now -= 1
    return number


async def _unlimited(inside: Inside, number: int) -> int:
    """The same steps with no limit around them, which counts as one that is kept: what any limit adds to."""
    inside.now = PERMITS - 1
    return await _work(inside, number)


async def _in_block(block: Block, inside: Inside, number: int) -> int:
    async with block():
        return await _work(inside, number)


async def _crowd(call: Callable[[Inside, int], Awaitable[int]], tasks: int) -> Sample:
    """Microseconds a task, its own making included."""
    inside = Inside()
    numbers = iter(range(tasks))

    async def one() -> int:
        return await call(inside, next(numbers))

    seconds, answer = await side_by_side(one, tasks)
    return Sample((seconds / tasks * 1e6,), (answer, inside.most))


def _waiters(scale: Scale) -> Contest:
    """Many who wait for a turn. Turns come at a rate that all keep, so what counts is the CPU for each; and in a row of
    its own the CPU while as many wait and no turn comes."""
    count = scale.pick(full=10_000, quick=10_000, tiny=200)
    seconds = scale.pick(full=1000, quick=1000, tiny=20) / 1000
    turns: dict[str, Round] = {
        OURS: partial(_queued, lambda n, per: effect(RateLimit(n, per=per))(trivial), count, seconds),
        BUCKET: partial(_queued, lambda n, per: effect(RateLimit(n, per=per, burst=n))(trivial), count, seconds),
    }
    if aiolimiter := optional("aiolimiter"):

        def limited(n: int, per: float) -> Call:
            limiter = aiolimiter.AsyncLimiter(n, per)

            async def call(number: int) -> int:
                async with limiter:
                    return number

            return call

        turns["aiolimiter"] = partial(_queued, limited, count, seconds)
    extras = (
        _beside("waiters", "aiolimiter, ours a token bucket", BUCKET, "aiolimiter", "us CPU"),
        _beside("waiters", "aiolimiter, while no call goes", OURS, "aiolimiter", "% CPU", 1, PERCENT),
    )
    rounds = scale.pick(full=11, quick=3, tiny=1)
    return Contest(rounds, turns, (list(range(count)), 0), (Measure("waiters", "us CPU"),), extras)


async def _queued(limited: Callable[[int, float], Call], count: int, seconds: float) -> Sample:
    """Microseconds of CPU a caller until all have had their turn; and its percentage while as many wait in vain."""
    quick, slow = limited(*OFTEN), limited(*NEVER)
    cpu = time.process_time()
    answer = await asyncio.gather(*[asyncio.create_task(_awaited(quick, number)) for number in range(count)])
    took = time.process_time() - cpu
    await slow(0)
    waiting = [asyncio.create_task(_awaited(slow, number)) for number in range(count)]
    await asyncio.sleep(seconds / 10)  # all have begun to wait, and what their coming set off is over
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    percent = (time.process_time() - cpu) / (time.perf_counter() - wall) * 100
    ended = sum(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    return Sample((took / count * 1e6, percent), (answer, ended))


async def _awaited(call: Call, number: int) -> int:
    return await call(number)
