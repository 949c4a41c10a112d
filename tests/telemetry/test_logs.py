"""Log records: by loggers of one area each, with fields that a formatter may name, natively too."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mountain_runtime import CircuitBreaker, Retry, Runtime, _native, constant, effect
from mountain_runtime.telemetry import _logs
from tests.lifecycle.support import until

from .tracing import traces

FIELDS = "%(name)s|%(levelname)s|%(effect)s|%(attempt)s|%(trace_id)s|%(message)s"


class Boom(Exception):
    """A failure of ours."""


def of(caplog: pytest.LogCaptureFixture, area: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == f"mountain_runtime.{area}"]


@contextmanager
def slow_from(seconds: float) -> Iterator[None]:
    """The time that this loop calls slow, for a while."""
    loop = asyncio.get_running_loop()
    before = loop.slow_callback_duration
    loop.slow_callback_duration = seconds
    try:
        yield
    finally:
        loop.slow_callback_duration = before


def hold(seconds: float) -> None:
    """Real: what is measured is how long a thread goes on without a suspension."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_every_record_has_the_fields_that_a_formatter_may_name(caplog: pytest.LogCaptureFixture) -> None:
    log = _logs.logger("effect")
    with caplog.at_level(logging.INFO, "mountain_runtime"):
        log.info("plain")
        log.info("of one", extra={"effect": "name", "attempt": 2})
    plain, told = (logging.Formatter(FIELDS).format(record) for record in caplog.records)
    assert plain == "mountain_runtime.effect|INFO|None|None|None|plain"
    assert told == "mountain_runtime.effect|INFO|name|2|None|of one"


def test_a_logger_is_filtered_once_however_often_it_is_asked_for() -> None:
    assert _logs.logger("effect") is _logs.logger("effect")
    assert len(_logs.logger("effect").filters) == 1


def test_the_package_s_loggers_add_no_handler_and_no_level() -> None:
    for area in ("dashboard", "effect", "fs", "policy", "service", "shutdown", "sidecar", "telemetry"):
        log = _logs.logger(area)
        assert (log.handlers, log.level, log.propagate) == ([], logging.NOTSET, True)


# -- a step that takes long -----------------------------------------------------------------------------------


async def test_a_step_that_holds_the_loop_up_is_told_with_its_effect(caplog: pytest.LogCaptureFixture) -> None:
    @effect(name="greedy")
    async def greedy() -> None:
        await asyncio.sleep(0)
        hold(0.03)

    with slow_from(0.02), caplog.at_level(logging.WARNING, "mountain_runtime"):
        await greedy()
    [record] = of(caplog, "effect")
    assert record.levelno == logging.WARNING
    assert record.effect == "greedy"  # type: ignore[attr-defined]
    assert "effect 'greedy' held its event loop for 0.0" in record.getMessage()


async def test_it_says_in_which_attempt(caplog: pytest.LogCaptureFixture) -> None:
    attempts = 0

    @effect(Retry(on=Boom, attempts=3, backoff=constant(0)), name="greedy")
    async def greedy() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Boom
        hold(0.03)

    with slow_from(0.02), caplog.at_level(logging.WARNING, "mountain_runtime"):
        await greedy()
    [record] = of(caplog, "effect")
    assert record.attempt == 3  # type: ignore[attr-defined]


async def test_of_nested_ones_the_innermost_is_told(caplog: pytest.LogCaptureFixture) -> None:
    @effect(name="inside")
    async def inside() -> None:
        hold(0.03)

    @effect(name="around")
    async def around() -> None:
        await inside()

    with slow_from(0.02), caplog.at_level(logging.WARNING, "mountain_runtime"):
        await around()
    assert [record.effect for record in of(caplog, "effect")] == ["inside"]  # type: ignore[attr-defined]


async def test_what_waits_for_long_is_not_slow(caplog: pytest.LogCaptureFixture) -> None:
    @effect(name="patient")
    async def patient() -> None:
        await asyncio.sleep(0.03)

    with slow_from(0.02), caplog.at_level(logging.WARNING, "mountain_runtime"):
        await patient()
    assert of(caplog, "effect") == []


async def test_the_loop_says_what_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    with slow_from(10), caplog.at_level(logging.WARNING, "mountain_runtime"):
        await effect(name="greedy")(_hold_async)()
    assert of(caplog, "effect") == []


async def _hold_async() -> None:
    hold(0.03)


# -- the native side ------------------------------------------------------------------------------------------


async def _open_a_breaker(name: str) -> None:
    breaker = CircuitBreaker(name=name, failures=1, cooldown=60)

    @effect(breaker, name="fails")
    async def fails() -> None:
        raise Boom

    with pytest.raises(Boom):
        await fails()


async def test_native_events_arrive_at_the_logger_of_their_area(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime"):
        await _open_a_breaker("the till")
        await until(lambda: bool(of(caplog, "policy")))
    [record] = of(caplog, "policy")
    assert record.getMessage() == "breaker 'the till' opened: a call failed (Boom)"
    assert record.levelno == logging.INFO


async def test_they_are_of_no_trace_of_somebody_else_s(caplog: pytest.LogCaptureFixture) -> None:
    """The loop's reader, which hands them over, may have been made within a span."""
    with traces() as spans, caplog.at_level(logging.INFO, "mountain_runtime"):
        with spans.tracer.start_as_current_span("above"):
            await _native.trial_sleep(0)
            await _open_a_breaker("the till")
            await until(lambda: bool(of(caplog, "policy")))
        assert [record.trace_id for record in of(caplog, "policy")] == [None]  # type: ignore[attr-defined]


async def test_hostile_names_are_logged_as_arguments_not_as_formats(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime"):
        await _open_a_breaker("100 %s %d {x}")
        await until(lambda: bool(of(caplog, "policy")))
    assert of(caplog, "policy")[0].getMessage() == "breaker '100 %s %d {x}' opened: a call failed (Boom)"


# -- traces ---------------------------------------------------------------------------------------------------


async def test_a_record_from_within_a_span_carries_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    @effect(name="greedy")
    async def greedy() -> None:
        hold(0.03)

    with traces() as spans, slow_from(0.02), caplog.at_level(logging.WARNING, "mountain_runtime"):
        with spans.tracer.start_as_current_span("above") as above:
            await greedy()
    [record] = of(caplog, "effect")
    trace = format(above.get_span_context().trace_id, "032x")
    assert record.trace_id == trace  # type: ignore[attr-defined]


async def test_the_address_of_a_page_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime"):
        async with Runtime(dashboard="127.0.0.1:0") as rt:
            assert rt._page is not None
            assert any(rt._page.url in record.getMessage() for record in of(caplog, "dashboard"))
