"""A backoff that is a plain function of the attempt."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Backoff, Fallback, Pipeline, Retry, Timeout, blocking, effect, exponential, fs
from mountain_runtime.errors import ConfigError, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import Boom, Calls, forever

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


async def test_it_is_given_the_number_of_the_attempt(virtual_clock: VirtualClock) -> None:
    asked: list[int] = []

    def half_more(attempt: int) -> float:
        asked.append(attempt)
        return 0.5 * attempt

    calls = Calls(Boom, Boom, Boom, then_value=True)
    assert await effect(Retry(on=Boom, attempts=5, backoff=half_more))(calls)() == 4
    assert (asked, virtual_clock.time()) == ([1, 2, 3], 3.0)


async def test_each_call_counts_from_one() -> None:
    asked: list[int] = []
    retry = Retry(on=Boom, attempts=3, backoff=lambda attempt: asked.append(attempt) or 0)
    for _ in range(2):
        with pytest.raises(Boom):
            await effect(retry)(Calls(Boom))()
    assert asked == [1, 2, 1, 2], "after the last attempt nothing is waited for"


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(0, 0), (0.0, 0), (2, 2), (1.5, 1.5), (timedelta(minutes=1), 60), (Fraction(1, 2), 0.5), (-0.0, 0)],
)
async def test_seconds_as_a_number_or_a_timedelta(virtual_clock: VirtualClock, wait: Any, seconds: float) -> None:
    await effect(Retry(on=Boom, backoff=lambda _: wait))(Calls(Boom, then_value=True))()
    assert virtual_clock.time() == seconds


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (-1, ValueError),
        (nan, ValueError),
        (timedelta(seconds=-1), ValueError),
        (-(10**400), ValueError),
        (None, TypeError),
        ("1", TypeError),
        (True, TypeError),
        ([1], TypeError),
        (exponential(), TypeError),
    ],
    ids=repr,
)
async def test_what_is_no_wait_is_an_error_at_that_moment(wait: Any, error: type[Exception]) -> None:
    calls = Calls(Boom)
    with pytest.raises(error, match=r"backoff= of effect 'job' gave .* for attempt 1: it must be seconds") as caught:
        await effect(Retry(on=Exception, backoff=lambda _: wait), name="job")(calls)()
    assert type(caught.value) is error
    assert isinstance(caught.value.__context__, Boom)
    assert calls.count == 1


async def test_an_error_out_of_it_propagates() -> None:
    def wrong(_: int) -> float:
        raise KeyError

    with pytest.raises(KeyError) as caught:
        await effect(Retry(on=Exception, backoff=wrong))(Calls(Boom))()
    assert isinstance(caught.value.__context__, Boom)

    def stops(_: int) -> float:
        raise StopIteration

    with pytest.raises(RuntimeError, match="backoff= raised StopIteration"):
        await effect(Retry(on=Exception, backoff=stops))(Calls(Boom))()


@pytest.mark.parametrize("wait", [inf, 1e308, 10**400, timedelta.max])
async def test_a_huge_wait_does_not_fit_a_limit(virtual_clock: VirtualClock, wait: Any) -> None:
    with pytest.raises(Boom) as caught:
        await effect(Timeout(5), Retry(on=Boom, backoff=lambda _: wait))(Calls(Boom))()
    assert virtual_clock.time() == 0
    assert "does not fit Timeout(5)" in caught.value.__notes__[0]


async def test_without_a_limit_an_endless_wait_is_waited_for(virtual_clock: VirtualClock) -> None:
    task = asyncio.create_task(effect(Retry(on=Boom, backoff=lambda _: inf))(Calls(Boom))())
    await virtual_clock.advance(1e6)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_it_gives_the_waits_that_on_leaves_open(virtual_clock: VirtualClock) -> None:
    said = iter([5, -1, nan, True])
    retry = Retry(on=lambda _: next(said), attempts=5, backoff=lambda attempt: attempt * 10)
    assert await effect(retry)(Calls(Boom, Boom, Boom, Boom, then_value=True))() == 5
    assert virtual_clock.time() == 5 + 20 + 30 + 40


async def test_it_has_no_cap(virtual_clock: VirtualClock) -> None:
    await effect(Retry(on=Boom, max_retry_after=1, backoff=lambda _: 3600))(Calls(Boom, then_value=True))()
    assert virtual_clock.time() == 3600


async def test_limits_pass_while_it_is_waited_for(virtual_clock: VirtualClock) -> None:
    async def hangs() -> None:
        if virtual_clock.time() > 0:
            await forever()
        raise Boom

    with pytest.raises(TimedOut) as caught:
        await effect(Timeout(5), Retry(on=Boom, backoff=lambda _: 4))(hangs)()
    assert (virtual_clock.time(), type(caught.value.__cause__)) == (5, Boom)
    ended = []
    for after in range(1, 8):
        task = asyncio.create_task(effect(Retry(on=Boom, backoff=lambda _: 0))(Calls(Boom, Boom, then_value=True))())
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        ended.append(task.cancelled())
    assert ended[-1] is False


async def test_threads_and_native_effects(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    left = [Boom(), None]

    def once() -> int:
        if error := left.pop(0):
            raise error
        return 1

    assert await blocking(Retry(on=Boom, backoff=lambda attempt: attempt))(once)() == 1
    assert virtual_clock.time() == 1
    missing = fs.read_text(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        await missing.under(Retry(on=OSError, backoff=lambda attempt: attempt))
    assert virtual_clock.time() == 1 + 1 + 2


def linear(attempt: int) -> float:
    return attempt / 2


async def test_it_says_that_its_waits_are_not_known() -> None:
    assert repr(Retry(on=Boom, backoff=linear)) == "Retry(on=Boom, backoff=linear)"
    assert Retry(on=Boom, backoff=linear) == Retry(on=Boom, backoff=linear)

    def says(*policies: Any) -> str:
        return Pipeline(*policies, name="p").describe()

    said = says(Retry(on=Boom, attempts=3, backoff=linear), Timeout(2))
    assert "tries again on Boom: 3 attempts in all, with the waits that linear gives" in said
    assert "Worst case of a call: 6 s, the waits of a retry, and the cleanup of what is stopped" in said
    said = says(Fallback(str, on=Boom), Retry(on=Boom, backoff=linear), Timeout(2))
    assert "6 s, the waits of a retry, what a fallback takes, and" in said
    assert "Worst case of a call: 9 s, and" in says(Timeout(9), Retry(on=Boom, backoff=linear), Timeout(2))
    assert "Worst case of a call: 2 s, and" in says(Retry(on=Boom, attempts=1, backoff=linear), Timeout(2))
    assert "Worst case of a call: no limit" in says(Retry(on=Boom, attempts=None, backoff=linear), Timeout(2))


async def waits(attempt: int) -> float:
    return 1


def yields(attempt: int) -> Any:
    yield 1


WRONG: list[Callable[..., Any] | Any] = [waits, yields, lambda: 1, lambda a, b: 1, Backoff, float, "1", None]


@pytest.mark.parametrize("backoff", WRONG)
async def test_what_cannot_be_one_is_refused(backoff: Any) -> None:
    with pytest.raises(ConfigError, match=r"Retry\(backoff="):
        Retry(on=Boom, backoff=backoff)
