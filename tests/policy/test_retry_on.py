"""`on` as a function: it decides everything, and what it answers is how long to wait."""

import asyncio
import math
from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import Retry, Timeout, constant, effect
from mountain_runtime.errors import TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Watch, forever

WAIT = 0.05


async def retried_once(answer: Any, *, backoff: float, max_retry_after: float = 60) -> float:
    """How long the wait was before the second attempt."""
    calls = Calls(Boom, then_value=True)
    retry = Retry(on=lambda _: answer, backoff=constant(backoff), max_retry_after=max_retry_after)
    with Watch() as watch:
        assert await effect(retry)(calls)() == 2
    return watch.took


@pytest.mark.parametrize("answer", [1e10, math.inf, timedelta(days=999999), 10**18, 10**400], ids=str)
async def test_a_server_is_believed_up_to_the_cap(answer: Any) -> None:
    """T6: 1e10 is the cap."""
    assert WAIT <= await retried_once(answer, backoff=LONG, max_retry_after=WAIT) < WAIT + AT_ONCE


@pytest.mark.parametrize("answer", [-1, -1e-9, math.nan, -math.inf, timedelta(seconds=-1), -(10**400), True], ids=str)
async def test_nonsense_and_true_leave_it_to_the_backoff(answer: Any) -> None:
    """T6: -1 and NaN are the backoff."""
    assert WAIT <= await retried_once(answer, backoff=WAIT) < WAIT + AT_ONCE


@pytest.mark.parametrize("answer", [0, 0.0, timedelta(0)], ids=repr)
async def test_zero_is_at_once(answer: Any) -> None:
    """T6: 0, although it is as false as False, is a wait of nothing."""
    assert await retried_once(answer, backoff=LONG) < AT_ONCE


@pytest.mark.parametrize("answer", [0.05, timedelta(milliseconds=50)], ids=repr)
async def test_a_delay_is_waited(answer: Any) -> None:
    assert WAIT <= await retried_once(answer, backoff=LONG) < WAIT + AT_ONCE


async def test_false_ends_it() -> None:
    calls = Calls(Boom)
    with pytest.raises(Boom):
        await effect(Retry(on=lambda _: False, attempts=None))(calls)()
    assert calls.count == 1


async def test_it_is_asked_about_each_failure_and_sees_the_error_itself() -> None:
    errors = [Boom("a"), KeyError("b"), Boom("c")]
    seen: list[Exception] = []

    def on(error: Exception) -> bool:
        seen.append(error)
        return not isinstance(error, KeyError)

    with pytest.raises(KeyError):
        await effect(Retry(on=on, attempts=9, backoff=constant(0)))(Calls(*errors))()
    assert seen == errors[:2]


async def test_it_decides_about_a_limit_inside_too() -> None:
    asked: list[Exception] = []

    def no(error: Exception) -> bool:
        asked.append(error)
        return False

    with pytest.raises(TimedOut) as ended:
        await effect(Retry(on=no, backoff=constant(0)), Timeout(SOON))(forever)()
    assert asked == [ended.value]
    with pytest.raises(TimedOut) as ended:
        await effect(Retry(on=lambda e: isinstance(e, TimedOut), attempts=2, backoff=constant(0)), Timeout(SOON))(
            forever
        )()
    assert ended.value.attempt == 2


async def test_it_is_not_asked_after_the_last_attempt_nor_about_a_limit_outside() -> None:
    asked: list[Exception] = []

    def on(error: Exception) -> bool:
        asked.append(error)
        return True

    with pytest.raises(Boom):
        await effect(Retry(on=on, attempts=2, backoff=constant(0)))(Calls(Boom))()
    assert len(asked) == 1
    asked.clear()
    with pytest.raises(TimedOut):
        await effect(Timeout(SOON), Retry(on=on, backoff=constant(0)))(forever)()
    assert asked == []


async def test_an_exception_out_of_it_propagates() -> None:
    def on(_: Exception) -> bool:
        raise LookupError("a bug in on")

    calls = Calls(Boom)
    with pytest.raises(LookupError, match="a bug in on"):
        await effect(Timeout(LONG), Retry(on=on, attempts=None))(calls)()
    assert calls.count == 1


async def test_a_stopiteration_out_of_it_is_a_runtimeerror() -> None:
    """As it is, it would look like the effect's value."""

    def on(_: Exception) -> bool:
        raise StopIteration("no value")

    with pytest.raises(RuntimeError) as raised:
        await asyncio.create_task(effect(Retry(on=on))(Calls(Boom))())
    assert isinstance(raised.value.__cause__, StopIteration)


async def test_an_answer_that_is_none_of_these_is_a_clear_error() -> None:
    with pytest.raises(TypeError, match="str"):
        await effect(Retry(on=lambda _: "yes"))(Calls(Boom))()  # type: ignore[arg-type,return-value]
