"""Pipeline.describe(): the stack in words, the longest time, and warnings that are true of an order and of no other."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Pipeline,
    Policy,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    constant,
    exponential,
)
from mountain_runtime.errors import CircuitOpen, RateLimited, Rejected, TimedOut

from .support import Boom, Crash

RETRY = Retry(on=Boom, backoff=constant(1))


def nothing(_: Exception) -> None: ...


def described(*policies: Policy) -> str:
    return Pipeline(*policies, name="p").describe()


def worst(*policies: Policy) -> str:
    found = re.search(r"^Worst case of a call: (.*)$", described(*policies), re.MULTILINE)
    assert found is not None
    return found[1].removesuffix(", and the cleanup of what is stopped")


def warnings(*policies: Policy) -> list[str]:
    """Each on one line."""
    _, _, text = described(*policies).partition("\nWarnings:\n")
    return [" ".join(each.split()) for each in text.split("  -  ") if each]


def test_the_stack_outermost_first_one_line_each() -> None:
    inner = Pipeline(ConcurrencyLimit(5, key=len), RateLimit(10, per=1, burst=20, max_wait=3), name="inner")
    line = Pipeline(
        Timeout(10),
        Cache(ttl=60, stale=30, max_size=100),
        Retry(on=(Boom, KeyError), attempts=4, budget=RetryBudget()),
        CircuitBreaker(failures=3),
        inner,
        Fallback(nothing, on=KeyError),
        Timeout(2),
        name="github",
    )
    lines = line.describe().splitlines()
    assert lines[0] == "Pipeline 'github', outermost first:"
    expected = [
        (1, "Timeout(10)", "after 10 s"),
        (2, "Cache(ttl=60, max_size=100, stale=30)", "100 values for 60 s; a stale one for 30 s"),
        (3, "Retry(on=(Boom, KeyError), attempts=4", "4 attempts in all, with waits of at most 0.7 s together"),
        (4, "CircuitBreaker(failures=3)", "3 failed in a row"),
        (5, "ConcurrencyLimit(5, key=len)", "5 at work at a time for each key"),
        (6, "RateLimit(10, per=1, burst=20, max_wait=3)", "no longer than 3 s"),
        (7, "Fallback(nothing, on=KeyError)", "stands in for KeyError"),
        (8, "Timeout(2)", "after 2 s"),
    ]
    for line_, (number, text, does) in zip(lines[1:], expected, strict=False):
        assert line_.startswith(f"  {number}  {text}")
        assert does in line_
    assert lines[9].startswith("Worst case of a call: 10 s")


def test_an_empty_one() -> None:
    assert described() == "Pipeline 'p': nothing\nWorst case of a call: no limit"


@pytest.mark.parametrize(
    ("breaker", "words"),
    [
        (CircuitBreaker(), "50% of at least 20 calls in 60 s failed"),
        (CircuitBreaker(failure_rate=0.125, window=5), "12.5000% of at least 20 calls in 5 s failed"),
        (CircuitBreaker(slow_call=2, slow_rate=0.5), "failed, or 50% took longer than 2 s"),
        (CircuitBreaker(failures=2, key=len), "2 failed in a row, each key for itself"),
    ],
)
def test_when_a_breaker_opens(breaker: CircuitBreaker, words: str) -> None:
    assert words in described(breaker)


@pytest.mark.parametrize(
    ("policies", "time"),
    [
        ([], "no limit"),
        ([Timeout(2)], "2 s"),
        ([Timeout(float("inf"))], "no limit"),
        ([RETRY], "no limit"),
        ([RETRY, Timeout(2)], "8 s"),
        ([Timeout(5), RETRY, Timeout(2)], "5 s"),
        ([Timeout(60), RETRY, Timeout(2)], "8 s"),
        ([Timeout(60), RETRY], "60 s"),
        ([Retry(on=Boom, attempts=1), Timeout(2)], "2 s"),
        ([Retry(on=Boom, attempts=None), Timeout(2)], "no limit"),
        ([Retry(on=Boom, attempts=None, backoff=constant(0)), Timeout(0)], "no limit"),
        ([Timeout(9), Retry(on=Boom, attempts=None), Timeout(2)], "9 s"),
        ([Retry(on=Boom, attempts=5, backoff=exponential(1, max=4, jitter="full")), Timeout(1)], "16 s"),
        ([Retry(on=Boom, attempts=3, backoff=exponential(4, max=4)), Timeout(1)], "11 s"),
        ([Retry(on=lambda _: 1, attempts=3, max_retry_after=7), Timeout(1)], "17 s"),
        ([Retry(on=lambda _: 1, attempts=3, max_retry_after=7, backoff=constant(9)), Timeout(1)], "21 s"),
        ([Retry(on=Boom, attempts=10**9, backoff=exponential(1, max=5)), Timeout(0)], "5e+09 s"),
        ([Retry(on=Boom, attempts=10**400), Timeout(1)], "5.404e+16 s"),
        ([RETRY, RETRY, Timeout(1)], "17 s"),
        ([RateLimit(1, per=1), Timeout(2)], "no limit"),
        ([RateLimit(1, per=1, max_wait=3), Timeout(2)], "5 s"),
        ([RETRY, RateLimit(1, per=1, max_wait=3), Timeout(2)], "17 s"),
        ([ConcurrencyLimit(1), Timeout(2)], "no limit"),
        ([ConcurrencyLimit(1, max_waiting=0), Timeout(2)], "2 s"),
        ([Timeout(7), ConcurrencyLimit(1), Timeout(2)], "7 s"),
        ([CircuitBreaker(), Cache(ttl=1), Timeout(2)], "2 s"),
        ([Fallback(nothing, on=Boom), Timeout(2)], "2 s, what a fallback takes"),
        ([RETRY, Fallback(nothing, on=Boom), Timeout(2)], "8 s, what a fallback takes"),
        ([Timeout(5), Fallback(nothing, on=Boom), Timeout(2)], "5 s"),
    ],
    ids=str,
)
def test_the_longest_time(policies: list[Policy], time: str) -> None:
    assert worst(*policies) == time


LIMIT = ConcurrencyLimit(5)
RATE = RateLimit(10, per=1)
BREAKER = CircuitBreaker()
CACHE = Cache(ttl=1)
ATTEMPT = Timeout(2)
Order = Sequence[Policy]
ON_OPEN = Retry(on=(Boom, CircuitOpen), backoff=constant(1))


@pytest.mark.parametrize(
    ("says", "has", "has_not"),
    [
        ("start together", [RATE, LIMIT], [LIMIT, RATE]),
        ("an attempt that hangs is never tried again", [Timeout(5), RETRY], [Timeout(5), RETRY, ATTEMPT]),
        ("an attempt that hangs is never tried again", [RETRY, Timeout(float("inf"))], [RETRY, LIMIT, ATTEMPT]),
        ("an attempt that hangs is never tried again", [RETRY], [Retry(on=Boom, attempts=1)]),
        ("which has less time", [Timeout(1), RETRY, ATTEMPT], [Timeout(3), RETRY, ATTEMPT]),
        ("which has less time", [Timeout(1), ATTEMPT], [Timeout(1), CACHE, ATTEMPT]),
        ("which has less time", [Timeout(1), BREAKER, ATTEMPT], [Timeout(1), LIMIT, Timeout(float("inf"))]),
        ("which ends first: it never passes", [Timeout(5), ATTEMPT], [Timeout(5), LIMIT, ATTEMPT]),
        ("which ends first: it never passes", [Timeout(2), ATTEMPT], [Timeout(2), RETRY, ATTEMPT]),
        ("tries again by itself", [RETRY, CACHE, ATTEMPT], [CACHE, RETRY, ATTEMPT]),
        ("refresh is never tried again", [RETRY, Cache(ttl=1, stale=1), ATTEMPT], [RETRY, CACHE, ATTEMPT]),
        ("the attempts are refused, too", [ON_OPEN, BREAKER, ATTEMPT], [RETRY, BREAKER, ATTEMPT]),
        ("the attempts are refused, too", [ON_OPEN, BREAKER], [BREAKER, ON_OPEN]),
        (
            "the attempts are refused, too",
            [Retry(on=Rejected), BREAKER],
            [Retry(on=CircuitOpen, backoff=constant(20)), BREAKER],
        ),
        ("the attempts are refused, too", [ON_OPEN, BREAKER], [Retry(on=RateLimited), BREAKER]),
        ("the attempts are refused, too", [ON_OPEN, BREAKER], [Retry(on=Exception), BREAKER]),
        (
            "the attempts are refused, too",
            [ON_OPEN, CircuitBreaker(cooldown=constant(9))],
            [ON_OPEN, CircuitBreaker(cooldown=exponential(9, max=9))],
        ),
        ("takes a turn, too", [RATE, CACHE], [CACHE, RATE]),
        ("needs a place, too", [LIMIT, CACHE], [CACHE, LIMIT]),
        ("even what is cached is refused", [BREAKER, CACHE], [CACHE, BREAKER]),
        ("its further attempts none", [RATE, RETRY], [RETRY, RATE]),
        ("its further attempts none", [RATE, RETRY], [RATE, Retry(on=Boom, attempts=1)]),
        ("keeps its place while it waits", [LIMIT, RETRY], [RETRY, LIMIT]),
        ("keeps its place while it waits", [LIMIT, RETRY], [LIMIT, Retry(on=Boom, backoff=constant(0))]),
        ("is kept as if it were the value", [CACHE, Fallback(nothing, on=Boom)], [Fallback(nothing, on=Boom), CACHE]),
        ("may be called up to 9 times", [RETRY, RETRY, ATTEMPT], [RETRY, ATTEMPT]),
        ("may be called without end", [RETRY, Retry(on=Boom, attempts=None)], [RETRY, RETRY]),
        ("multiply", [RETRY, ATTEMPT, RETRY], [RETRY, Retry(on=Boom, attempts=1)]),
    ],
    ids=str,
)
def test_a_warning_is_said_of_the_order_that_deserves_it(says: str, has: Order, has_not: Order) -> None:
    assert len([each for each in warnings(*has) if says in each]) == 1
    assert [each for each in warnings(*has_not) if says in each] == []


@pytest.mark.parametrize(
    ("retried", "stood_in_for", "inside", "deserves"),
    [
        (Boom, Boom, [], True),
        (Boom, Crash, [], True),  # some of what is tried again
        (Crash, Boom, [], True),
        (Exception, KeyError, [], True),
        (Boom, KeyError, [], False),
        (Exception, CircuitOpen, [], False),  # Exception does not name a rejection
        (Rejected, CircuitOpen, [], True),
        ((Boom, CircuitOpen), Rejected, [], True),
        (RateLimited, CircuitOpen, [], False),
        (CircuitOpen, Exception, [], True),
        (Boom, TimedOut, [ATTEMPT], True),  # which a retry goes on from without its being named
        (Boom, TimeoutError, [ATTEMPT], True),
        (Boom, TimedOut, [], False),
        (lambda _: True, Boom, [], False),  # it cannot be known
    ],
)
def test_a_fallback_inside_a_retry_deserves_one_if_it_takes_something_away(
    retried: Any, stood_in_for: Any, inside: list[Policy], deserves: bool
) -> None:
    said = warnings(Retry(on=retried), Fallback(nothing, on=stood_in_for), *inside)
    assert any("is not tried again" in each for each in said) is deserves
    outside = warnings(Fallback(nothing, on=stood_in_for), Retry(on=retried), *inside)
    assert not any("Fallback" in each for each in outside)


def test_a_good_order_has_none() -> None:
    good = [Timeout(10), Fallback(nothing, on=Boom), CACHE, RETRY, BREAKER, LIMIT, RATE, ATTEMPT]
    assert "Warnings" not in described(*good)


def test_warnings_are_about_the_whole_stack_with_reason_and_mend() -> None:
    nested = Pipeline(LIMIT, name="inner")
    (said,) = warnings(RATE, nested)
    assert "RateLimit(10, per=1) stands outside ConcurrencyLimit(5)" in said
    assert said.endswith("Put the RateLimit inside")
    assert all(
        len(line) <= 100 for line in described(RATE, RETRY, CACHE, nested).partition("Warnings:")[2].splitlines()
    )
