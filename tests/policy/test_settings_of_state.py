"""Settings of RateLimit and CircuitBreaker that cannot work: ConfigErrors that name setting, value, and what can."""

import math
from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit, effect, exponential
from mountain_runtime.errors import ConfigError

from .support import Boom, Build, suspends

NAN, INF = math.nan, math.inf
anything: Any = Ellipsis


async def later(*_: object) -> int:
    return 1


def rate(**settings: Any) -> Build:
    return lambda: RateLimit(**{"n": 5, "per": 1} | settings)


def breaker(**settings: Any) -> Build:
    return lambda: CircuitBreaker(**settings)


limit = RateLimit(5, per=1)

WRONG: list[tuple[str, Build, list[str]]] = [
    *[(f"n={n!r}", rate(n=n), ["RateLimit", f"n={n!r}"]) for n in (0, -1, NAN, -INF, "5", None, True, [], 0.0)],
    *[(f"per={s!r}", rate(per=s), ["RateLimit", f"per={s!r}", "seconds"]) for s in (-1, NAN, "1", None)],
    *[(f"burst={n!r}", rate(burst=n), ["RateLimit", f"burst={n!r}"]) for n in (0, -1, NAN, "5", False, -INF)],
    *[(f"max_wait={s!r}", rate(max_wait=s), ["RateLimit", "max_wait", "0 or more"]) for s in (-1, NAN, "1", True)],
    *[(f"key={f!r}", rate(key=f), ["RateLimit", "key", "function"]) for f in (5, "user", later, ())],
    *[(f"cost={f!r}", rate(cost=f), ["RateLimit", "cost", "function"]) for f in (5, NAN, later, ())],
    ("half a call in a second", rate(n=0.5), ["RateLimit(0.5, per=1)", "costs 1", "RateLimit(1, per=2)"]),
    ("a tenth of one, in a timedelta", rate(n=0.1, per=timedelta(minutes=1)), ["RateLimit(1, per=600)"]),
    ("half a token", rate(burst=0.5), ["RateLimit(burst=0.5)", "costs 1", "1 or more"]),
    *[(f"acquire(cost={n!r})", lambda n=n: limit.acquire(cost=n), ["acquire", "cost"]) for n in (-1, NAN, INF, "1")],
    *[(f"charge({n!r})", lambda n=n: limit.charge(n), ["charge", "cost", "finite"]) for n in (NAN, INF, -INF, "1")],
    *[(f"pause({s!r})", lambda s=s: limit.pause(s), ["pause", "seconds", "0 or more"]) for s in (-1, NAN, "1", None)],
    *[(f"change({n!r})", lambda n=n: limit.change(n, per=1), ["change", "n"]) for n in (0, -1, NAN, "1", 0.5)],
    *[(f"change(per={s!r})", lambda s=s: limit.change(1, s), ["change", "per", "seconds"]) for s in (-1, NAN, None)],
    *[(f"name={n!r}", breaker(name=n), ["CircuitBreaker", f"name={n!r}"]) for n in ("", 5, b"name")],
    *[
        (f"limit's name={n!r}", lambda n=n: ConcurrencyLimit(1, name=n), ["ConcurrencyLimit", f"name={n!r}"])
        for n in ("", 5, b"name")
    ],
    *[
        (f"{name}={n!r}", breaker(**{name: n}), ["CircuitBreaker", f"{name}={n!r}", "whole number, 1 or more"])
        for name in ("failures", "minimum_calls", "probes")
        for n in (0, -1, 1.5, NAN, "5", True)
    ],
    *[
        (f"{name}={n!r}", breaker(**{name: n}), ["CircuitBreaker", f"{name}={n!r}", "a part of the calls"])
        for name in ("failure_rate", "slow_rate")
        for n in (0, -0.5, 1.01, NAN, INF, "half", 50)
    ],
    *[
        (f"{name}={s!r}", breaker(**{name: s}), ["CircuitBreaker", f"{name}={s!r}", "seconds"])
        for name in ("slow_call", "window", "cooldown")
        for s in (-1, NAN, "30", True)
    ],
    ("a timedelta below zero", rate(per=timedelta(-1)), ["RateLimit(per=-86400.0)", "0 or more"]),
    ("a cooldown below zero", breaker(cooldown=timedelta(-1)), ["CircuitBreaker(cooldown=-86400.0)", "0 or more"]),
    ("no window", breaker(window=0), ["CircuitBreaker(window=0)", "more than 0"]),
    *[(f"on={e!r}", breaker(on=e), ["CircuitBreaker", "on="]) for e in (BaseException, KeyboardInterrupt, (), 5, int)],
    ("on a function", breaker(on=lambda _: True), ["CircuitBreaker", "on", "Exception"]),
    ("on among others", breaker(on=(Boom, SystemExit)), ["CircuitBreaker", "on", "SystemExit"]),
    *[(f"breaker's key={f!r}", breaker(key=f), ["CircuitBreaker", "key", "function"]) for f in (5, "user", later)],
    ("a class for a limit", lambda: effect(RateLimit)(suspends), ["RateLimit", "class"]),  # type: ignore[call-overload]
    ("a class for a breaker", lambda: effect(CircuitBreaker, anything)(suspends), ["CircuitBreaker", "class"]),  # type: ignore[call-overload]
]


@pytest.mark.parametrize(
    ("build", "named"), [pytest.param(*case[1:], id=case[0].partition(" at 0x")[0]) for case in WRONG]
)
def test_a_wrong_setting_is_refused_where_it_is_written(build: Build, named: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        build()
    for part in named:
        assert part in str(refused.value)


RIGHT: list[tuple[Build, str]] = [
    (lambda: RateLimit(10, per=1), "RateLimit(10, per=1)"),
    (lambda: RateLimit(10, timedelta(minutes=1)), "RateLimit(10, per=60)"),
    (lambda: RateLimit(INF, per=1), "RateLimit(inf, per=1)"),
    (lambda: RateLimit(5, per=0), "RateLimit(5, per=0)"),
    (lambda: RateLimit(0.5, per=0), "RateLimit(0.5, per=0)"),
    (lambda: RateLimit(5, per=INF), "RateLimit(5, per=inf)"),
    (lambda: RateLimit(10**400, per=1e300), "RateLimit(inf, per=1e+300)"),
    (lambda: RateLimit(0.5, per=1, burst=1), "RateLimit(0.5, per=1, burst=1)"),
    (lambda: RateLimit(0.5, per=1, cost=len), "RateLimit(0.5, per=1, cost=len)"),
    (lambda: RateLimit(5, per=1, burst=0.5, cost=len), "RateLimit(5, per=1, burst=0.5, cost=len)"),
    (lambda: RateLimit(5, per=1, key=str.lower, max_wait=2.5), "RateLimit(5, per=1, key=str.lower, max_wait=2.5)"),
    (lambda: RateLimit(5, per=1, max_wait=timedelta(seconds=2)), "RateLimit(5, per=1, max_wait=2)"),
    (CircuitBreaker, "CircuitBreaker()"),
    (lambda: CircuitBreaker(name="github", failures=5), "CircuitBreaker(name='github', failures=5)"),
    (lambda: CircuitBreaker(failure_rate=1, minimum_calls=1), "CircuitBreaker(failure_rate=1, minimum_calls=1)"),
    (lambda: CircuitBreaker(slow_call=timedelta(seconds=2)), "CircuitBreaker(slow_call=2)"),
    (lambda: CircuitBreaker(cooldown=INF, window=INF, probes=3), "CircuitBreaker(window=inf, cooldown=inf, probes=3)"),
    (lambda: CircuitBreaker(failures=10**30, probes=10**30), f"CircuitBreaker(failures={10**30}, probes={10**30})"),
    (lambda: CircuitBreaker(cooldown=0), "CircuitBreaker(cooldown=0)"),
    (lambda: CircuitBreaker(cooldown=exponential(1, max=60)), f"CircuitBreaker(cooldown={exponential(1, max=60)!r})"),
    (lambda: CircuitBreaker(on=(Boom, OSError), key=len), "CircuitBreaker(on=(Boom, OSError), key=len)"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "text"), RIGHT, ids=[text for _, text in RIGHT])
async def test_a_right_one_is_written_back_and_works(build: Build, text: str) -> None:
    policy: Any = build()
    assert repr(policy) == text
    assert await effect(policy)(suspends)("") == ""


@pytest.mark.parametrize("free", [RateLimit(INF, per=1), RateLimit(5, per=0), RateLimit(10**400, per=1)], ids=repr)
async def test_infinitely_many_or_in_no_time_is_no_limit(free: RateLimit) -> None:
    for _ in range(100):
        with pytest.raises(StopIteration):  # at once: a turn that has to wait is yielded
            free.acquire(cost=1e9).send(None)
