"""A setting that cannot work is a ConfigError where it is written: it names the setting, the value, what is allowed."""

import math
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import (
    Backoff,
    ConcurrencyLimit,
    Pipeline,
    Retry,
    Timeout,
    blocking,
    constant,
    effect,
    exponential,
)
from mountain_runtime.errors import ConfigError, MountainError

from .support import Boom, Build, suspends

NAN = math.nan
anything: Any = Ellipsis


async def answers_later(_: Exception) -> bool:
    return True


def yields_answers(_: Exception) -> Iterator[bool]:
    yield True


WRONG: list[tuple[str, Build, list[str]]] = [
    ("timeout below zero", lambda: Timeout(-1), ["Timeout", "seconds", "-1", "0 or more"]),
    ("timeout below zero, as a timedelta", lambda: Timeout(timedelta(seconds=-1)), ["Timeout", "seconds", "0 or more"]),
    ("timeout of -inf", lambda: Timeout(-math.inf), ["Timeout", "seconds", "-inf", "0 or more"]),
    ("timeout of NaN", lambda: Timeout(NAN), ["Timeout", "seconds", "nan", "0 or more"]),
    ("timeout of a str", lambda: Timeout("2"), ["Timeout", "seconds", "'2'", "number"]),  # type: ignore[arg-type]
    ("timeout of None", lambda: Timeout(None), ["Timeout", "seconds", "None", "number"]),  # type: ignore[arg-type]
    ("no attempts", lambda: Retry(on=Boom, attempts=0), ["Retry", "attempts", "0", "1 or more"]),
    ("attempts below zero", lambda: Retry(on=Boom, attempts=-3), ["Retry", "attempts", "-3", "1 or more"]),
    ("half an attempt", lambda: Retry(on=Boom, attempts=1.5), ["Retry", "attempts", "1.5", "whole"]),  # type: ignore[arg-type]
    ("attempts of a bool", lambda: Retry(on=Boom, attempts=True), ["Retry", "attempts", "True", "whole"]),
    ("retry on BaseException", lambda: Retry(on=BaseException), ["Retry", "on", "BaseException", "Exception"]),  # type: ignore[arg-type]
    (
        "retry on an interrupt",
        lambda: Retry(on=(Boom, KeyboardInterrupt)),
        ["Retry", "on", "KeyboardInterrupt", "Exception"],
    ),  # type: ignore[arg-type]
    ("retry on nothing", lambda: Retry(on=()), ["Retry", "on", "()", "Exception"]),
    ("retry on a number", lambda: Retry(on=503), ["Retry", "on", "503", "Exception"]),  # type: ignore[arg-type]
    ("retry on another class", lambda: Retry(on=int), ["Retry", "on", "int", "Exception"]),  # type: ignore[arg-type]
    ("on that answers later", lambda: Retry(on=answers_later), ["Retry", "on", "answers_later", "function"]),  # type: ignore[arg-type]
    ("on that yields", lambda: Retry(on=yields_answers), ["Retry", "on", "yields_answers", "function"]),  # type: ignore[arg-type]
    ("backoff of a number", lambda: Retry(on=Boom, backoff=3), ["Retry", "backoff", "3", "constant"]),  # type: ignore[arg-type]
    (
        "a server believed below zero",
        lambda: Retry(on=Boom, max_retry_after=-1),
        ["max_retry_after", "-1", "0 or more"],
    ),
    ("a server believed for NaN", lambda: Retry(on=Boom, max_retry_after=NAN), ["max_retry_after", "nan", "0 or more"]),
    ("constant below zero", lambda: constant(-0.5), ["constant", "wait", "-0.5", "0 or more"]),
    ("initial below zero", lambda: exponential(-1), ["exponential", "initial", "-1", "0 or more"]),
    ("max of NaN", lambda: exponential(max=NAN), ["exponential", "max", "nan", "0 or more"]),
    ("a factor that shrinks", lambda: exponential(factor=0.5), ["exponential", "factor", "0.5", "1 or more"]),
    ("a factor of NaN", lambda: exponential(factor=NAN), ["exponential", "factor", "nan", "1 or more"]),
    ("a jitter nobody knows", lambda: exponential(jitter=anything), ["exponential", "jitter", "Ellipsis", "'equal'"]),
    ("no places", lambda: ConcurrencyLimit(0), ["ConcurrencyLimit", "n", "0", "1 or more"]),
    ("places below zero", lambda: ConcurrencyLimit(-2), ["ConcurrencyLimit", "n", "-2", "1 or more"]),
    ("half a place", lambda: ConcurrencyLimit(1.5), ["ConcurrencyLimit", "n", "1.5", "whole"]),  # type: ignore[arg-type]
    ("places of a bool", lambda: ConcurrencyLimit(True), ["ConcurrencyLimit", "n", "True", "whole"]),
    ("places of a str", lambda: ConcurrencyLimit("5"), ["ConcurrencyLimit", "n", "'5'", "whole"]),  # type: ignore[arg-type]
    ("places without end", lambda: ConcurrencyLimit(math.inf), ["ConcurrencyLimit", "n", "inf", "whole"]),  # type: ignore[arg-type]
    ("resized to nothing", lambda: ConcurrencyLimit(1).resize(0), ["ConcurrencyLimit.resize", "n", "0", "1 or more"]),
    ("a queue below zero", lambda: ConcurrencyLimit(1, max_waiting=-1), ["max_waiting", "-1", "0 or more", "None"]),
    ("a queue of half", lambda: ConcurrencyLimit(1, max_waiting=0.5), ["max_waiting", "0.5", "whole"]),  # type: ignore[arg-type]
    ("a queue of a bool", lambda: ConcurrencyLimit(1, max_waiting=False), ["max_waiting", "False", "whole"]),
    ("an overflow nobody knows", lambda: ConcurrencyLimit(1, overflow=anything), ["overflow", "'reject'", "'shed'"]),
    (
        "a key that is a name",
        lambda: ConcurrencyLimit(1, key="repo"),
        ["ConcurrencyLimit", "key", "'repo'", "function"],
    ),  # type: ignore[arg-type]
    ("a key that comes later", lambda: ConcurrencyLimit(1, key=suspends), ["key", "suspends", "plain function"]),
    ("a class for a limit", lambda: effect(ConcurrencyLimit)(suspends), ["ConcurrencyLimit", "class"]),  # type: ignore[call-overload]
    ("a pipeline without a name", lambda: Pipeline(Timeout(1), name=""), ["Pipeline", "name", "''"]),
    ("a pipeline of numbers", lambda: Pipeline(anything, name="p"), ["Ellipsis", "policy"]),
    ("a class for a policy", lambda: effect(Timeout), ["Timeout", "class"]),  # type: ignore[call-overload]
    ("a class among the policies", lambda: effect(Timeout(1), Retry)(suspends), ["Retry", "class"]),  # type: ignore[call-overload]
    ("a number for a policy", lambda: effect(Timeout(1), 3)(suspends), ["3", "policy"]),  # type: ignore[call-overload]
    ("a number under blocking", lambda: blocking(Timeout(1), 3)(len), ["3", "policy"]),  # type: ignore[call-overload]
]


@pytest.mark.parametrize(("build", "named"), [pytest.param(*case[1:], id=case[0]) for case in WRONG])
def test_a_wrong_setting_is_refused_where_it_is_written(build: Build, named: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        build()
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, MountainError)
    for part in named:
        assert part in str(refused.value)


def test_retry_has_no_default_for_what_it_retries() -> None:
    with pytest.raises(ConfigError, match="needs on="):
        Retry()  # type: ignore[call-overload]


async def test_a_wrong_policy_is_refused_by_under() -> None:
    work = effect(suspends)()
    with pytest.raises(ConfigError, match="policy"):
        work.under(5)  # type: ignore[arg-type]
    assert await work == 1  # the effect itself is as good as before


def test_right_settings_are_values() -> None:
    assert Timeout(2) == Timeout(2.0) != Timeout(3)
    assert hash(Timeout(2)) == hash(Timeout(2))
    assert Retry(on=Boom, attempts=2) == Retry(on=Boom, attempts=2) != Retry(on=Boom, attempts=3)
    assert constant(1) == constant(timedelta(seconds=1))
    assert isinstance(exponential(), Backoff)
    assert repr(ConcurrencyLimit(10**30, max_waiting=10**30)).startswith("ConcurrencyLimit(")
    with pytest.raises(AttributeError):
        Timeout(2).seconds = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Retry(on=Boom).attempts = 4  # type: ignore[misc]


# -- T8: what is no coroutine function, and arguments that can be used once ----------------------------------


def plain() -> int:
    return 1


def generates() -> Iterator[int]:
    yield 1


async def generates_later() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("fn", [plain, generates, generates_later])
@pytest.mark.parametrize("policies", [(), (Timeout(1),), (Retry(on=Boom),)], ids=["bare", "timeout", "retry"])
def test_effect_refuses_what_gives_no_single_awaitable(fn: Any, policies: Any) -> None:
    """T8: said at decoration, with the function's name."""
    with pytest.raises(ConfigError, match=fn.__name__):
        effect(*policies)(fn) if policies else effect(fn)


@pytest.mark.parametrize("fn", [suspends, generates, generates_later])
def test_blocking_refuses_what_is_not_a_plain_function(fn: Any) -> None:
    with pytest.raises(ConfigError, match=fn.__name__):
        blocking(fn)
    with pytest.raises(ConfigError, match=fn.__name__):
        blocking(Timeout(1))(fn)


async def total(numbers: Any, *, more: Any = ()) -> int:
    return sum(numbers) + sum(more)


async def test_a_generator_is_refused_as_argument_of_what_may_run_twice() -> None:
    """T8: the second attempt would find it empty and say nothing."""
    retried = effect(Retry(on=Boom))(total)
    with pytest.raises(TypeError, match="generator"):
        await retried(n for n in (1, 2))
    with pytest.raises(TypeError, match="generator"):
        await retried([1], more=(n for n in (1, 2)))
    with pytest.raises(TypeError, match="generator"):
        await effect(total)(n for n in (1, 2)).under(Retry(on=Boom))
    with pytest.raises(TypeError, match="generator"):
        await Retry(on=Boom).call(total, (n for n in (1, 2)))


async def test_a_generator_is_welcome_where_it_is_used_once() -> None:
    assert await effect(Timeout(5))(total)(n for n in (1, 2)) == 3
    assert await effect(total)(n for n in (1, 2)) == 3
    assert await effect(Retry(on=Boom))(total)([1, 2], more=range(3)) == 6
