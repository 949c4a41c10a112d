"""The contents of a span: attempts, errors, and events on the way."""

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode, get_current_span

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Retry,
    Runtime,
    Timeout,
    _native,
    constant,
    effect,
    errors,
)
from mountain_runtime.testing import VirtualClock

from .tracing import APART, RETRY, Boom, Spans, attributes, fails, leaf

# -- retries ---------------------------------------------------------------------------------------------------


def flaky(spans: Spans, fail: int, *policies: Any) -> Any:
    count = 0

    @effect(*policies, name="flaky")
    async def call() -> None:
        nonlocal count
        count += 1
        with spans.tracer.start_as_current_span(f"inside {count}"):
            await asyncio.sleep(0)
        if count <= fail:
            raise Boom(f"failure {count}")

    return call


async def test_each_attempt_is_a_child(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts = spans.named("flaky attempt")
    assert [attributes(span)["mountain.attempt"] for span in attempts] == [1, 2, 3]
    assert {spans.parent_of(span) for span in attempts} == {"flaky"}
    assert attributes(spans.one("flaky"))["mountain.attempts"] == 3


async def test_attempts_that_failed_say_why(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts = spans.named("flaky attempt")
    boom = f"{Boom.__module__}.Boom"
    assert [attributes(span).get("error.type") for span in attempts] == [boom, boom, None]
    assert [span.status.status_code.name for span in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert "error.type" not in attributes(spans.one("flaky"))


async def test_the_last_attempt_fails_as_its_call_does(spans: Spans) -> None:
    with pytest.raises(Boom):
        await flaky(spans, 9, RETRY)()
    boom = f"{Boom.__module__}.Boom"
    assert [attributes(span).get("error.type") for span in spans.named("flaky attempt")] == [boom] * 3
    assert attributes(spans.one("flaky"))["error.type"] == boom


async def test_code_in_an_attempt_is_the_attempts_child(spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    for number, attempt in enumerate(spans.named("flaky attempt"), 1):
        inside = spans.one(f"inside {number}")
        assert inside.parent is not None
        assert inside.parent.span_id == attempt.context.span_id
        assert attempt.start_time is not None
        assert inside.start_time is not None
        assert attempt.start_time <= inside.start_time + APART


async def test_attempts_come_one_after_the_other(virtual_clock: VirtualClock, spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    attempts, call = spans.named("flaky attempt"), spans.one("flaky")
    times = [time for span in attempts for time in (span.start_time or 0, span.end_time or 0)]
    assert [call.start_time, *times, call.end_time] == sorted([call.start_time or 0, *times, call.end_time or 0])
    assert [times[n + 1] - times[n] for n in (1, 3)] == [1_000_000] * 2  # the backoff lies between


async def test_a_backoff_is_an_event(virtual_clock: VirtualClock, spans: Spans) -> None:
    await flaky(spans, 2, RETRY)()
    told = [event for event in spans.one("flaky").events if event.name == "backs off"]
    assert len(told) == 2
    for event in told:
        assert event.attributes is not None
        assert "Retry" in str(event.attributes["mountain.policy"])
        assert event.attributes["mountain.wait_seconds"] == 0.001


async def test_one_attempt_that_succeeds_is_a_child_too(spans: Spans) -> None:
    await flaky(spans, 0, RETRY)()
    assert [attributes(span)["mountain.attempt"] for span in spans.named("flaky attempt")] == [1]
    assert "mountain.attempts" not in attributes(spans.one("flaky"))


async def test_what_is_said_in_an_attempt_is_said_of_the_call(spans: Spans) -> None:
    @effect(RETRY, name="call")
    async def call() -> None:
        get_current_span().set_attribute("key", "value")

    await call()
    assert attributes(spans.one("call"))["key"] == "value"


async def test_an_attempt_that_its_timeout_ends_says_so(spans: Spans) -> None:
    @effect(Retry(on=TimeoutError, attempts=2, backoff=constant(0)), Timeout(0.005), name="slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    with pytest.raises(errors.TimedOut):
        await slow()
    late = "mountain_runtime.errors.TimedOut"
    assert [attributes(span).get("error.type") for span in spans.named("slow attempt")] == [late, late]


# -- errors ----------------------------------------------------------------------------------------------------


async def test_an_error_is_told(spans: Spans) -> None:
    with pytest.raises(Boom):
        await fails()
    span = spans.one("fails")
    assert attributes(span)["error.type"] == f"{Boom.__module__}.Boom"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "it broke")


async def test_an_error_is_told_of_all_that_it_passes(spans: Spans) -> None:
    @effect(name="outer")
    async def outer() -> None:
        await fails()

    with pytest.raises(Boom):
        await outer()
    assert {span.name: span.status.status_code.name for span in spans.all()} == {"fails": "ERROR", "outer": "ERROR"}


async def test_a_builtin_error_has_its_plain_name(spans: Spans) -> None:
    @effect(name="wrong")
    async def wrong() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await wrong()
    assert attributes(spans.one("wrong"))["error.type"] == "ValueError"


async def test_an_error_that_cannot_be_printed_is_told(spans: Spans) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @effect(name="mute")
    async def mute() -> None:
        raise Mute

    with pytest.raises(Mute):
        await mute()
    assert str(attributes(spans.one("mute"))["error.type"]).endswith("Mute")


@pytest.mark.parametrize("native", [False, True])
async def test_a_cancelled_effect_says_so(spans: Spans, native: bool) -> None:
    @effect(name="long")
    async def long() -> None:
        await asyncio.sleep(30)

    task = asyncio.ensure_future(_native.trial_sleep(30) if native else long())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [span] = spans.all()
    assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"


async def test_a_timeout_is_told(spans: Spans) -> None:
    with pytest.raises(errors.TimedOut):
        await _native.trial_sleep(30).under(Timeout(0.005))
    [span] = spans.all()
    assert attributes(span)["error.type"] == "mountain_runtime.errors.TimedOut"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_status_that_the_application_sets_stands(spans: Spans) -> None:
    @effect(name="fails on purpose")
    async def purpose() -> None:
        get_current_span().set_status(StatusCode.OK)
        raise Boom

    with pytest.raises(Boom):
        await purpose()
    span = spans.one("fails on purpose")
    assert span.status.status_code is StatusCode.OK
    assert "error.type" in attributes(span)


# -- events ----------------------------------------------------------------------------------------------------


async def test_a_wait_at_a_limit_is_two_events(virtual_clock: VirtualClock, spans: Spans) -> None:
    limit = ConcurrencyLimit(1, name="door")

    @effect(limit, name="passes")
    async def passes() -> None:
        await asyncio.sleep(0.01)

    await asyncio.gather(passes(), passes())
    first, second = spans.all()
    assert [event.name for event in first.events] == []
    assert [event.name for event in second.events] == ["waits", "waited"]
    for event in second.events:
        assert event.attributes is not None
        assert "door" in str(event.attributes["mountain.policy"])
    waits, waited = second.events
    assert waited.timestamp - waits.timestamp == 10_000_000


async def test_a_cache_tells_of_misses_and_hits(spans: Spans) -> None:
    @effect(Cache(ttl=30), name="cached")
    async def cached() -> int:
        return 1

    assert await cached() == await cached() == 1
    told = [event.name for span in spans.named("cached") for event in span.events if event.name.startswith("cache")]
    assert told == ["cache miss", "cache hit"]


async def test_a_refused_call_says_who_refused_it(spans: Spans) -> None:
    @effect(CircuitBreaker(name="fuse", failures=1), name="guarded")
    async def guarded() -> None:
        raise Boom

    for error in (Boom, errors.CircuitOpen):
        with pytest.raises(error):
            await guarded()
    _, refused = spans.named("guarded")
    assert [event.name for event in refused.events] == ["refused"]
    assert refused.events[0].attributes is not None
    assert "fuse" in str(refused.events[0].attributes["mountain.policy"])
    assert attributes(refused)["error.type"] == "mountain_runtime.errors.CircuitOpen"


@pytest.mark.parametrize("most", [None, 1])
async def test_submitted_work_that_waits_for_its_place_has_one_span(spans: Spans, most: int | None) -> None:
    """The wait is none of its own."""
    async with Runtime(max_in_flight=most) as runtime:
        await asyncio.gather(*[runtime.submit(leaf()) for _ in range(3)])
    assert spans.names() == ["leaf"] * 3
