"""Fallback: what stands in, for which errors, in which order; and what it leaves alone."""

import asyncio
import copy
import functools
import pickle
from pathlib import Path
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
    Runtime,
    Timeout,
    _native,
    constant,
    effect,
    fs,
)
from mountain_runtime.errors import CircuitOpen, ConfigError, RateLimited, Rejected, TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Crash, Stop, Watch, forever, outcome, suspends


async def fails(error: BaseException | None = None) -> Any:
    raise error or Boom("first")


async def awaits(error: Exception) -> Any:
    await asyncio.sleep(0)
    return f"instead of {error}"


async def of_effect(error: Exception) -> Any:
    return await effect(suspends)(f"instead of {error}")


def degraded(name: str) -> int:
    return _native.effect_statistics().get(name, (0,) * 10)[7]


def stand_in(error: Exception) -> int:
    return len(str(error))


def test_one_that_says_what_it_gives_is_as_one_that_does_not() -> None:
    said, plain = Fallback[int](stand_in, on=Boom), Fallback(stand_in, on=Boom)
    assert type(said) is Fallback
    assert said == plain == pickle.loads(pickle.dumps(said)) == copy.copy(said)
    assert hash(said) == hash(plain)
    assert repr(said) == repr(plain) == "Fallback(stand_in, on=Boom)"


@pytest.mark.parametrize("policy", [Fallback, Fallback[int], Pipeline[int], Policy[Any]])
def test_the_class_is_no_policy_whatever_it_says_of_what_it_gives(policy: Any) -> None:
    inner = fs.stat(".")
    for put in (effect, functools.partial(effect, Timeout(1)), inner.under):
        with pytest.raises(ConfigError, match=r"^(Fallback|Pipeline|Policy) is a class: write \1\(\.\.\.\)$"):
            put(policy)
    inner.close()


# -- what stands in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        lambda error: f"instead of {error}",
        awaits,
        of_effect,
        lambda error: effect(suspends)(f"instead of {error}"),
        lambda error: asyncio.ensure_future(awaits(error)),
        lambda error: _native.trial_noop(1).map(lambda _: f"instead of {error}"),
    ],
    ids=["value", "coroutine", "effect inside", "effect", "future", "native effect"],
)
async def test_it_gives_a_value_or_what_an_awaitable_gives(to: Any) -> None:
    assert await effect(Fallback(to, on=Boom))(fails)() == "instead of first"
    assert await effect(Fallback(to, on=Boom))(suspends)("value") == "value"


async def test_none_is_a_value() -> None:
    assert await effect(Fallback(lambda _: None, on=Boom))(fails)() is None


async def test_it_stands_in_for_what_on_names() -> None:
    to = [].append
    for on, error, stands_in in [
        (Boom, Boom(), True),
        (Boom, Crash(), True),
        (Crash, Boom(), False),
        ((KeyError, Boom), Boom(), True),
        (Exception, Boom(), True),
        (OSError, FileNotFoundError(), True),
    ]:
        found = await outcome(effect(Fallback(lambda e: ("instead", e), on=on))(fails)(error))
        assert found == (("instead", error) if stands_in else error)
    del to


async def test_a_ladder_goes_from_the_inside_out() -> None:
    seen: list[Any] = []

    def step(name: str, *, then: Any) -> Any:
        def to(error: Exception) -> Any:
            seen.append((name, error))
            if isinstance(then, Exception):
                raise then
            return then

        return to

    first, second = Boom("first"), KeyError("second")
    ladder = effect(
        Fallback(step("outer", then="last resort"), on=KeyError),
        Fallback(step("middle", then="never"), on=ValueError),
        Fallback(step("inner", then=second), on=Boom),
    )
    assert await ladder(fails)(first) == "last resort"
    assert seen == [("inner", first), ("outer", second)]


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when awaited"])
async def test_what_it_raises_itself_has_the_first_error_as_its_context(late: bool) -> None:
    first, second = Boom("first"), KeyError("second")

    async def raises_late(_: Exception) -> Any:
        await asyncio.sleep(0)
        raise second

    def raises(error: Exception) -> Any:
        if late:
            return raises_late(error)
        raise second

    with pytest.raises(KeyError) as raised:
        await effect(Fallback(raises, on=Boom))(fails)(first)
    assert raised.value is second
    assert second.__context__ is first


async def test_the_context_joins_what_led_to_the_second_error() -> None:
    first = Boom("first")

    async def raises(_: Exception) -> Any:
        try:
            raise KeyError("second")
        except KeyError:
            raise ValueError("third") from None

    with pytest.raises(ValueError, match="third") as raised:
        await effect(Fallback(raises, on=Boom))(fails)(first)
    assert isinstance(raised.value.__context__, KeyError)
    assert raised.value.__context__.__context__ is first

    async def raises_it_again(error: Exception) -> Any:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(Boom) as again:
        await effect(Fallback(raises_it_again, on=Boom))(fails)(first)
    assert again.value is first
    assert first.__context__ is None


async def test_stop_iteration_is_no_end() -> None:
    def stops(_: Exception) -> Any:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await effect(Fallback(stops, on=Boom))(fails)()


# -- what it leaves alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Stop(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_what_is_no_exception_passes(error: BaseException) -> None:
    """In a loop of its own: asyncio ends it with these."""

    async def main() -> None:
        await effect(Fallback(lambda _: 1, on=Exception))(fails)(error)

    with pytest.raises(type(error)):
        asyncio.run(main())


@pytest.mark.parametrize("to", [lambda _: 1, awaits], ids=["value", "coroutine"])
async def test_a_cancel_passes(to: Any) -> None:
    async def call() -> Any:
        return await effect(Fallback(to, on=Exception))(forever)()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cancel_while_it_is_awaited_runs_its_cleanup() -> None:
    begun, ended = asyncio.Event(), []

    async def slow(error: Exception) -> Any:
        try:
            begun.set()
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.append(error)

    async def call() -> Any:
        return await effect(Fallback(lambda _: "outer", on=Exception), Fallback(slow, on=Boom))(fails)()

    task = asyncio.create_task(call())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(ended) == 1


async def test_a_timeout_inside_can_be_named_and_one_outside_is_final() -> None:
    inside = effect(Fallback(lambda e: e, on=TimedOut), Timeout(SOON), name="slow")(forever)
    stood_in_for = await inside()
    assert isinstance(stood_in_for, TimedOut)
    assert (stood_in_for.effect, stood_in_for.policy) == ("slow", f"Timeout({SOON})")
    for on in (TimedOut, TimeoutError, OSError, Exception):
        assert await effect(Fallback(lambda _: 1, on=on), Timeout(SOON))(forever)() == 1
        with pytest.raises(TimedOut):
            await effect(Timeout(SOON), Fallback(lambda _: 1, on=on))(forever)()


async def test_a_timeout_outside_bounds_what_stands_in() -> None:
    async def slow(_: Exception) -> Any:
        await forever()

    with Watch() as watch, pytest.raises(TimedOut):
        await effect(Timeout(SOON), Fallback(slow, on=Boom))(fails)()
    assert watch.took < AT_ONCE


async def test_a_timeout_inside_does_not_bound_what_stands_in() -> None:
    async def slower(_: Exception) -> Any:
        await asyncio.sleep(SOON * 3)  # longer than the limit that has passed
        return "late"

    assert await effect(Fallback(slower, on=TimedOut), Timeout(SOON))(forever)() == "late"


async def test_rejected_is_named_like_any_other() -> None:
    breaker = CircuitBreaker()
    breaker.isolate()
    rate = RateLimit(1, per=LONG, max_wait=0)
    await effect(rate)(suspends)()
    for policy, error in ((breaker, CircuitOpen), (rate, RateLimited)):
        for on in (error, Rejected, Exception):
            found = await effect(Fallback(lambda e: e, on=on), policy)(suspends)()
            assert type(found) is error
            assert found.retry_after > 0
        with pytest.raises(error):
            await effect(Fallback(lambda e: e, on=Boom), policy)(suspends)()


async def test_a_breaker_outside_is_not_its_to_mend() -> None:
    """Nor is it a retry's that stands inside."""
    breaker = CircuitBreaker()
    breaker.isolate()
    with pytest.raises(CircuitOpen):
        await effect(breaker, Fallback(lambda _: "mended", on=CircuitOpen))(suspends)()
    asked: list[Exception] = []
    with pytest.raises(CircuitOpen):
        await effect(breaker, Retry(on=lambda e: bool(asked.append(e)) or True))(suspends)()
    assert asked == []


# -- beside other policies -----------------------------------------------------------------------------------


async def test_outside_a_retry_it_is_for_the_last_failure() -> None:
    errors = [Boom(1), Boom(2), Boom(3)]
    calls = Calls(*errors)
    assert await effect(Fallback(lambda e: e, on=Boom), Retry(on=Boom, backoff=constant(0)))(calls)() is errors[2]
    assert calls.count == 3


async def test_inside_a_retry_there_is_nothing_to_try_again() -> None:
    calls = Calls(Boom)
    assert await effect(Retry(on=Boom), Fallback(lambda _: 1, on=Boom))(calls)() == 1
    assert calls.count == 1


async def test_what_it_raises_is_tried_again_by_a_retry_outside() -> None:
    calls = Calls(Boom, Boom, then_value=True)

    def raises(_: Exception) -> Any:
        raise KeyError

    stack = Retry(on=KeyError, backoff=constant(0)), Fallback(raises, on=Boom)
    assert await effect(*stack)(calls)() == 3


async def test_the_failure_that_it_stands_in_for_counts_for_a_breaker_inside_only() -> None:
    inside, outside = CircuitBreaker(failures=1), CircuitBreaker(failures=1)
    assert await effect(outside, Fallback(lambda _: 1, on=Boom), inside)(fails)() == 1
    assert (outside.state(), inside.state()) == ("closed", "open")


async def test_it_holds_no_place_of_a_limit_inside() -> None:
    limit = ConcurrencyLimit(1)

    async def looks(_: Exception) -> int:
        await asyncio.sleep(0)
        return limit.statistics().in_flight

    assert await effect(Fallback(looks, on=Boom), limit)(fails)() == 0
    assert await effect(limit, Fallback(looks, on=Boom))(fails)() == 1


# -- it is counted -------------------------------------------------------------------------------------------


async def test_a_call_that_ended_so_is_counted_as_degraded() -> None:
    name = "degrades"
    before = degraded(name)
    call = effect(Fallback(lambda _: 1, on=Boom), Fallback(fails, on=KeyError), name=name)(fails)
    for error in (Boom(), KeyError(), ValueError()):
        await outcome(call(error))
    await effect(Fallback(lambda _: 1, on=Boom), name=name)(suspends)()
    assert degraded(name) - before == 1
    async with Runtime() as rt:
        counts = rt.statistics().effects[name]
    assert counts.degraded == degraded(name)
    assert counts.succeeded >= counts.degraded


async def test_within_a_flight_it_is_counted_once_for_all() -> None:
    name = "degrades-in-flight"
    before = degraded(name)
    get = effect(Cache(ttl=LONG), Fallback(awaits, on=Boom), name=name)(fails)
    assert await asyncio.gather(*[get() for _ in range(5)]) == ["instead of first"] * 5
    assert degraded(name) - before == 1


# -- native effects, settings --------------------------------------------------------------------------------


async def test_native_effects(tmp_path: Path) -> None:
    missing = fs.read_text(tmp_path / "missing")
    assert await missing.under(Fallback(lambda e: e.errno, on=FileNotFoundError)) == 2
    assert await missing.under(Fallback(awaits, on=OSError)) == f"instead of {await outcome(missing)}"
    assert isinstance(await outcome(missing.under(Fallback(awaits, on=PermissionError))), FileNotFoundError)
    slow = _native.trial_sleep(LONG).under(Fallback(lambda _: "late", on=TimedOut), Timeout(SOON))
    assert await slow == "late"
    retried = _native.trial_fail(2).under(Retry(on=FileNotFoundError, backoff=constant(0)))
    assert await retried.under(Fallback(type, on=OSError)) is FileNotFoundError
    assert await _native.trial_noop(1).under(Fallback(awaits, on=OSError)) == 1


async def test_composed_effects() -> None:
    work = effect(fails)().then(suspends).under(Fallback(lambda _: "instead", on=Boom))
    assert await work == "instead"


@pytest.mark.parametrize("to", [1, None, "text"])
def test_what_stands_in_is_a_function(to: Any) -> None:
    with pytest.raises(ConfigError, match=r"Fallback\(to=.*must be a function of the error"):
        Fallback(to, on=Boom)


def test_generators_and_other_errors_are_refused() -> None:
    def generator(_: Exception) -> Any:
        yield 1

    async def async_generator(_: Exception) -> Any:
        yield 1

    for to, says in ((generator, "function of the error"), (async_generator, "under @stream")):
        with pytest.raises(ConfigError, match=says):
            Fallback(to, on=Boom)
    for on in (BaseException, KeyboardInterrupt, asyncio.CancelledError, (), (Boom, int), "Boom", lambda _: True):
        with pytest.raises(ConfigError, match=r"Fallback\(on="):
            Fallback(awaits, on=on)  # type: ignore[arg-type]


async def test_it_is_a_frozen_value_that_can_be_shared() -> None:
    fallback = Fallback(awaits, on=(Boom, KeyError))
    assert fallback == Fallback(awaits, on=(Boom, KeyError))
    assert repr(fallback) == "Fallback(awaits, on=(Boom, KeyError))"
    with pytest.raises(AttributeError):
        fallback.on = Boom  # type: ignore[misc]
    line = Pipeline(fallback, Timeout(LONG), name="shared")
    assert await asyncio.gather(*[line.call(fails) for _ in range(20)]) == ["instead of first"] * 20
