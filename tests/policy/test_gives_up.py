"""A Retry whose wait does not fit the limit around it gives up with the last error: what is outside has its turn."""

import errno
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import (
    CircuitBreaker,
    Effect,
    Fallback,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    _native,
    constant,
    deadline,
    effect,
    gather,
)
from mountain_runtime.errors import RateLimited, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import LONG, Boom, Calls, outcome

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])  # time is virtual there

SERVER_SAYS = Retry(on=lambda error: 7.0, attempts=None)


def fits_not(limit: str, left: str, wait: str = "the wait of 7 s") -> str:
    return f"was not tried again: {wait} does not fit {limit}, of which {left} s are left"


async def raised(work: Effect[Any]) -> BaseException:
    found = await outcome(work)
    assert isinstance(found, BaseException), found
    return found


async def test_the_last_error_is_raised_at_once_and_says_what_did_not_fit(virtual_clock: VirtualClock) -> None:
    first = Boom("429, Retry-After: 7")
    error = await raised(effect(Timeout(3), SERVER_SAYS, name="ask")(Calls(first))())
    assert error is first
    assert error.__notes__ == [f"effect 'ask' {fits_not('Timeout(3)', '3')}"]
    assert virtual_clock.time() == 0


async def test_it_tries_as_often_as_there_is_time_for(virtual_clock: VirtualClock) -> None:
    calls = Calls(Boom)
    error = await raised(effect(Timeout(20.5), SERVER_SAYS, name="ask")(calls)())
    assert (calls.count, virtual_clock.time()) == (3, 14)
    assert error.__notes__ == [
        f"effect 'ask' {fits_not('Timeout(20.5)', '6.5')}",
        "effect 'ask' was attempted 3 times; this is the last failure",
    ]


async def test_a_fallback_inside_the_limit_has_its_turn_and_the_time_that_is_left(virtual_clock: VirtualClock) -> None:
    async def another(error: Exception) -> str:
        await _native.trial_sleep(2)
        return str(error)

    ask = effect(Timeout(3), Fallback(another, on=Boom), SERVER_SAYS)(Calls(Boom("busy")))
    assert await ask() == "busy"
    assert virtual_clock.time() == 2


async def test_a_breaker_outside_sees_that_error_and_judges_it_by_its_own_on(virtual_clock: VirtualClock) -> None:
    for on, then in ((Boom, "open"), (KeyError, "closed")):
        breaker = CircuitBreaker(failures=1, on=on)
        await raised(effect(Timeout(3), breaker, SERVER_SAYS)(Calls(Boom))())
        assert breaker.state() == then


async def test_another_retry_outside_goes_on_from_it(virtual_clock: VirtualClock) -> None:
    calls = Calls(Boom)
    await raised(effect(Timeout(3), Retry(on=Boom, attempts=2, backoff=constant(1)), SERVER_SAYS)(calls)())
    assert (calls.count, virtual_clock.time()) == (2, 1)


@pytest.mark.parametrize("native", [True, False])
async def test_natively_it_is_the_same(native: bool, virtual_clock: VirtualClock) -> None:
    on: Any = OSError if native else (FileNotFoundError, Boom)
    again = Retry(on=on, attempts=None, backoff=constant(2))
    work = _native.trial_fail(errno.ENOENT).under(Timeout(60), again, Timeout(5), again)
    assert _native.is_native(work) == native
    error = await raised(work)
    assert isinstance(error, FileNotFoundError)
    assert virtual_clock.time() == 58
    assert [note for note in error.__notes__ if "not tried" in note] == [
        f"effect 'fail' {fits_not('Timeout(60)', '2', 'the wait of 2 s')}"
    ]


async def test_natively_what_is_outside_has_its_turn(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=1, on=FileNotFoundError)
    again = Retry(on=FileNotFoundError, backoff=constant(7))
    work = _native.trial_fail(errno.ENOENT).under(Timeout(3), breaker, again)
    assert _native.is_native(work)
    await raised(work)
    assert breaker.state() == "open"
    answer = await _native.trial_fail(errno.ENOENT).under(
        Timeout(3), Fallback(lambda error: error.__notes__, on=OSError), again
    )
    assert [fits_not("Timeout(3)", "3") in note for note in answer] == [True]


async def test_a_part_of_a_native_gather_says_it_of_itself(virtual_clock: VirtualClock) -> None:
    part = _native.trial_fail(errno.ENOENT).under(Timeout(3), Retry(on=OSError, backoff=constant(7)))
    error = await raised(gather([part, _native.trial_noop(1)]))
    assert error.__notes__ == [f"effect 'fail' {fits_not('Timeout(3)', '3')}"]


def part() -> Effect[Any]:
    return _native.trial_fail(errno.ENOENT).under(Retry(on=OSError, backoff=constant(7)))


@pytest.mark.parametrize(
    ("group", "limit"),
    [
        (lambda: gather([part()]).under(Timeout(3)), "Timeout(3) of effect 'gather'"),
        (
            lambda: gather([part()]).under(Timeout(3), Retry(on=OSError, backoff=constant(7))),
            "Timeout(3) of effect 'gather'",
        ),
        (lambda: gather([part()]).under(Timeout(3), Fallback(again, on=KeyError)), "Timeout(3) of effect 'gather'"),
        (lambda: gather([gather([part()])]).under(Timeout(3)), "Timeout(3) of effect 'gather'"),
        (lambda: effect(Timeout(3), name="outer")(awaits)(gather([part()])), "Timeout(3) of effect 'outer'"),
        (lambda: effect(Timeout(3), name="outer")(awaits)(gather([part()]).map(str)), "Timeout(3) of effect 'outer'"),
        (
            lambda: effect(Timeout(3), name="outer")(awaits)(gather([part()]).under(SERVER_SAYS)),
            "Timeout(3) of effect 'outer'",
        ),
    ],
)
async def test_the_parts_of_a_native_group_know_the_limit_over_it(
    group: Callable[[], Effect[Any]], limit: str, virtual_clock: VirtualClock
) -> None:
    error = await raised(group())
    assert isinstance(error, FileNotFoundError)
    assert error.__notes__[0] == f"effect 'fail' {fits_not(limit, '3')}"
    assert virtual_clock.time() == 0


async def test_a_rate_limit_in_a_part_of_a_native_group_refuses_what_would_come_too_late(
    virtual_clock: VirtualClock,
) -> None:
    rate = RateLimit(1, per=60)
    await rate.call(_native.trial_noop)
    error = await raised(gather([_native.trial_noop(1).under(rate), _native.trial_sleep(1)]).under(Timeout(3)))
    assert isinstance(error, RateLimited)
    assert virtual_clock.time() == 0


async def test_the_parts_of_a_native_group_leave_the_limit_to_it(virtual_clock: VirtualClock) -> None:
    for work in (
        _native.trial_sleep(9),
        _native.trial_sleep(9).under(Timeout(8)),
        _native.trial_sleep(9).under(Retry(on=OSError)),
    ):
        with pytest.raises(TimedOut) as ended:
            await gather([work, _native.trial_sleep(2)]).under(Timeout(3))
        assert (ended.value.effect, ended.value.policy, ended.value.__cause__) == ("gather", "Timeout(3)", None)
    assert virtual_clock.time() == 9


async def awaits(work: Effect[Any]) -> Any:
    return await work


def again(error: Exception) -> None:
    raise error


async def test_a_limit_from_outside_is_named_with_what_set_it(virtual_clock: VirtualClock) -> None:
    @effect(Timeout(3), name="outer")
    async def outer(work: Effect[Any]) -> Any:
        return await work

    for work in (
        effect(SERVER_SAYS, name="fail")(Calls(Boom))(),
        _native.trial_fail(errno.ENOENT).under(Retry(on=OSError, backoff=constant(7))),
    ):
        error = await raised(outer(work))
        assert not isinstance(error, TimedOut)
        assert any(fits_not("Timeout(3) of effect 'outer'", "3") in note for note in error.__notes__), error.__notes__

    async def block() -> None:
        async with deadline(3):
            await effect(SERVER_SAYS)(Calls(Boom))()

    found = await outcome(block())
    assert isinstance(found, Boom)
    assert fits_not(f"deadline(3) in '{block.__qualname__}'", "3") in found.__notes__[0]


async def test_a_wait_without_end_and_one_of_next_to_nothing_are_written_as_one_reads_them(
    virtual_clock: VirtualClock,
) -> None:
    error = await raised(effect(Timeout(3), Retry(on=Boom, backoff=constant(float("inf"))))(Calls(Boom))())
    assert fits_not("Timeout(3)", "3", "an endless wait") in error.__notes__[0]
    error = await raised(effect(Timeout(0.00025), Retry(on=Boom, backoff=constant(0.0123)))(Calls(Boom))())
    assert fits_not("Timeout(0.00025)", "0.00025", "the wait of 0.012 s") in error.__notes__[0]


async def test_one_error_for_many_calls_keeps_the_last_note(virtual_clock: VirtualClock) -> None:
    same = Boom("somebody's constant")
    ask = effect(Timeout(3), SERVER_SAYS, name="ask")(Calls(same))
    for limit in (2, 1):
        await raised(ask().under(Timeout(limit)))
    assert same.__notes__ == [f"effect 'ask' {fits_not('Timeout(1)', '1')}"]


async def fails_deeply() -> None:
    raise Boom


@pytest.mark.parametrize("budget", [None, RetryBudget(ratio=0, min_per_second=0)])
async def test_the_users_frames_stay_on_top(budget: RetryBudget | None, virtual_clock: VirtualClock) -> None:
    """Also where nothing is left of a budget."""
    error = await raised(effect(Timeout(3), Retry(on=Boom, backoff=constant(7), budget=budget))(fails_deeply)())
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fails_deeply"


async def test_time_that_has_passed_is_still_a_time_out(virtual_clock: VirtualClock) -> None:
    """Retries without a wait go on as long as there is time."""

    async def takes_a_second() -> None:
        await _native.trial_sleep(1)
        raise Boom

    with pytest.raises(TimedOut) as ended:
        await effect(Timeout(2.5), Retry(on=Boom, attempts=None, backoff=constant(0)))(takes_a_second)()
    assert isinstance(ended.value.__cause__, Boom)
    assert (virtual_clock.time(), ended.value.attempt) == (2.5, 3)


async def test_a_retry_that_gives_up_takes_nothing_from_its_budget(virtual_clock: VirtualClock) -> None:
    budget = RetryBudget(ratio=0, min_per_second=0.1)
    await raised(effect(Timeout(3), Retry(on=Boom, backoff=constant(7), budget=budget))(Calls(Boom))())
    calls = Calls(Boom)
    await raised(effect(Timeout(LONG), Retry(on=Boom, backoff=constant(1), budget=budget))(calls)())
    assert calls.count == 2
