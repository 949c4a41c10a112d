"""The policy engine: retry and timeout around a coroutine, beside the libraries and hand-written code that do the same.

All contestants try a call up to three times and give each attempt five seconds (`wait_for` has only the timeout; `bare`
has neither: it is the floor). Nothing fails here: what is measured is the price of being ready for it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from benches.harness import OURS, Contest, Extra, Measure, Sample, Samples, Scale, figures, optional
from benches.workloads import one_after_another
from mountain_runtime import Retry, Timeout, effect

PEERS = ("tenacity", "stamina", "pyresilience", "hand-loop", "wait_for", "bare")
CASES: Mapping[str, tuple[str, ...]] = {"returns": PEERS, "suspends": PEERS, "build": PEERS}

ATTEMPTS = 3
SECONDS = 5.0
STATUS = 200

Fetch = Callable[[str], Coroutine[Any, Any, int]]


class Flaky(Exception):
    """The error that would be retried."""


async def returns(url: str) -> int:
    """A call that has its answer at once, as from a cache or a pool."""
    return STATUS


async def suspends(url: str) -> int:
    """A call that gives way to the loop once, so that a timeout has to be armed and able to cancel it."""
    await asyncio.sleep(0)
    return STATUS


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The three cases, from the same contestants."""
    rounds = scale.pick(full=100, quick=40, tiny=2)
    urls = ["https://example.org/"] * scale.pick(full=1000, quick=1000, tiny=20)
    expected = [STATUS] * len(urls)
    for name, leaf in (("returns", returns), ("suspends", suspends)):
        calls = protected(leaf)
        turns = {peer: partial(one_after_another, call, urls) for peer, call in calls.items()}
        overhead = Extra(name, "overhead over bare", "us", _overhead, _bare, needs=("bare",), resolution=0.001)
        yield Contest(rounds, turns, expected, (Measure(name, "us"),), (overhead,))
    builds = {peer: partial(build, call, urls) for peer, call in protected(returns).items()}
    closing = Extra("build", "bare, its close()", "us", _closing_ours, _closing_bare, needs=("bare",), resolution=0.001)
    yield Contest(rounds, builds, len(urls), (Measure("build", "us"),), (closing,))


def protected(fetch: Fetch) -> dict[str, Fetch]:
    """`fetch` under retry and timeout, by all contestants that are installed."""

    async def in_time(url: str) -> int:
        async with asyncio.timeout(SECONDS):
            return await fetch(url)

    async def hand_loop(url: str) -> int:
        for left in reversed(range(ATTEMPTS)):
            try:
                async with asyncio.timeout(SECONDS):
                    return await fetch(url)
            except Flaky:
                if not left:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def wait_for(url: str) -> int:
        return await asyncio.wait_for(fetch(url), SECONDS)

    found: dict[str, Fetch] = {OURS: effect(Retry(on=Flaky, attempts=ATTEMPTS), Timeout(SECONDS))(fetch)}
    if tenacity := optional("tenacity"):
        stop, on = tenacity.stop_after_attempt(ATTEMPTS), tenacity.retry_if_exception_type(Flaky)
        found["tenacity"] = tenacity.retry(stop=stop, retry=on)(in_time)
    if stamina := optional("stamina"):
        found["stamina"] = stamina.retry(on=Flaky, attempts=ATTEMPTS)(in_time)
    if pyresilience := optional("pyresilience"):
        retry = pyresilience.RetryConfig(max_attempts=ATTEMPTS, retry_on=(Flaky,))
        found["pyresilience"] = pyresilience.resilient(
            retry=retry, timeout=pyresilience.TimeoutConfig(seconds=SECONDS)
        )(fetch)
    return found | {"hand-loop": hand_loop, "wait_for": wait_for, "bare": fetch}


async def build(call: Fetch, urls: Sequence[str]) -> Sample:
    """Only makes the value, of ours an Effect, of others a coroutine; closing it, unrun, is the second figure."""
    start = perf_counter()
    values = [call(url) for url in urls]
    built = perf_counter()
    for value in values:
        value.close()
    closed = perf_counter()
    return Sample(((built - start) / len(urls) * 1e6, (closed - built) / len(urls) * 1e6), len(values))


def _overhead(samples: Samples) -> list[float]:
    pairs = zip(figures(samples[OURS]), figures(samples["bare"]), strict=True)
    return [ours - bare for ours, bare in pairs]


def _bare(samples: Samples) -> list[float]:
    return figures(samples["bare"])


def _closing_ours(samples: Samples) -> list[float]:
    return figures(samples[OURS], 1)


def _closing_bare(samples: Samples) -> list[float]:
    return figures(samples["bare"], 1)
