"""Records of retries: a DEBUG record for each, an INFO record when one gives up; inline and native alike."""

import asyncio
import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    CircuitBreaker,
    Effect,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    _native,
    constant,
    effect,
    fs,
    gather,
)
from mountain_runtime.errors import TimedOut
from mountain_runtime.telemetry import _logs

from .tracing import traces

NOW = constant(0)


class Boom(Exception):
    """A failure of ours."""


def fails(*errors: Exception, name: str = "fetch", policies: tuple[Any, ...]) -> Effect[None]:
    left = list(errors)

    @effect(*policies, name=name)
    async def work() -> None:
        if left:
            raise left.pop(0)

    return work()


async def told(caplog: pytest.LogCaptureFixture, work: Effect[Any], level: int = logging.DEBUG) -> list[Any]:
    """The records of it: levels, effects, attempts and messages."""
    caplog.clear()
    with caplog.at_level(level, "mountain_runtime.policy"):
        await asyncio.gather(work, return_exceptions=True)
        await _native.trial_sleep(0.001)  # native records come with the next of a loop's results
        await _native.trial_noop()
    records = [record for record in caplog.records if record.name == "mountain_runtime.policy"]
    return [(r.levelname, getattr(r, "effect"), getattr(r, "attempt"), r.getMessage()) for r in records]  # noqa: B009


async def test_each_retry_says_the_attempt_the_wait_and_the_error(caplog: pytest.LogCaptureFixture) -> None:
    work = fails(Boom("one"), Boom("two"), policies=(Retry(on=Boom, backoff=constant(0.002)),))
    assert await told(caplog, work) == [
        (
            "DEBUG",
            "fetch",
            1,
            f"effect 'fetch' failed in attempt 1 and is tried again in 0.002 s: {__name__}.Boom: one",
        ),
        (
            "DEBUG",
            "fetch",
            2,
            f"effect 'fetch' failed in attempt 2 and is tried again in 0.002 s: {__name__}.Boom: two",
        ),
    ]


@pytest.mark.parametrize(
    ("policies", "errors", "attempt", "why"),
    [
        ((Retry(on=Boom, attempts=2, backoff=NOW),), (Boom("no"), Boom("no")), 2, "it may make no more"),
        ((Retry(on=Boom, backoff=NOW),), (Boom("one"), KeyError("no")), 2, "on= does not name the failure"),
        (
            (Retry(on=Boom, budget=RetryBudget(ratio=0, min_per_second=0)),),
            (Boom("no"),),
            1,
            "nothing is left of its retry budget: ",
        ),
        (
            (Retry(on=Boom, budget=RetryBudget(ratio=0, min_per_second=0, name="all")),),
            (Boom("no"),),
            1,
            "nothing is left of its retry budget 'all': ",
        ),
        (
            (Timeout(30), Retry(on=Boom, backoff=constant(60))),
            (Boom("no"),),
            1,
            "the wait of 60 s does not fit Timeout(30), of which ",
        ),
    ],
)
async def test_one_record_says_why_it_gives_up(
    policies: tuple[Any, ...], errors: tuple[Exception, ...], attempt: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    [record] = await told(caplog, fails(*errors, policies=policies), logging.INFO)
    assert record[:3] == ("INFO", "fetch", attempt)
    assert record[3].startswith(f"effect 'fetch' gave up after attempt {attempt}, {why}")
    assert "no" in record[3].rpartition(": ")[2]


@pytest.mark.parametrize("attempts", [2, 3])
@pytest.mark.parametrize("inside", [lambda: RateLimit(1, per=60, max_wait=0), lambda: CircuitBreaker(failures=1)])
async def test_an_attempt_that_was_refused_is_told_as_that(
    attempts: int, inside: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It never began, so it is no attempt that failed, nor the last of those that there may be."""
    policy = inside()
    work = fails(Boom("no"), policies=(Retry(on=Boom, attempts=attempts, backoff=NOW), policy))
    [record] = [each for each in await told(caplog, work, logging.INFO) if "gave up" in each[3]]
    assert record[:3] == ("INFO", "fetch", 1)
    assert record[3].startswith(
        "effect 'fetch' gave up after attempt 1, the next was refused: mountain_runtime.errors."
    )
    assert repr(policy) in record[3]


async def test_what_was_never_to_be_tried_again_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    for policies in ((Retry(on=Boom),), (Retry(on=KeyError, attempts=1),), ()):
        assert await told(caplog, fails(KeyError("k"), policies=policies)) == []
    assert await told(caplog, fails(policies=(Retry(on=Boom),))) == []


async def test_a_limit_inside_is_told_as_the_time_out_that_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async def hangs() -> None:
        await asyncio.sleep(30)

    policies = Retry(on=Boom, attempts=2, backoff=NOW), Timeout(0.001)
    for work in (effect(*policies, name="hangs")(hangs)(), _native.trial_sleep(30).under(*policies[1:])):
        again = work if work.__name__ == "hangs" else work.under(Retry(on=OSError, attempts=2, backoff=NOW))
        found = await told(caplog, again)
        assert [(level, attempt) for level, _, attempt, _ in found] == [("DEBUG", 1), ("INFO", 2)]
        assert all("TimedOut" in message and "Timeout(0.001)" in message for *_, message in found)


async def test_native_retries_are_told_alike(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    error = f"FileNotFoundError: [Errno 2] {os.strerror(errno.ENOENT)}: {str(missing)!r}"
    for on in (OSError, lambda e: isinstance(e, OSError)):
        work = fs.read_bytes(missing).under(Retry(on=on, attempts=2, backoff=constant(0.002)))
        name = work.__name__
        assert await told(caplog, work) == [
            ("DEBUG", name, 1, f"effect '{name}' failed in attempt 1 and is tried again in 0.002 s: {error}"),
            ("INFO", name, 2, f"effect '{name}' gave up after attempt 2, it may make no more: {error}"),
        ]


async def test_natively_a_budget_is_named(caplog: pytest.LogCaptureFixture) -> None:
    budget = RetryBudget(ratio=0, min_per_second=0, name="all")
    again = Retry(on=OSError, budget=budget)
    work = _native.trial_fail(errno.EAGAIN).under(Retry(on=OSError, attempts=1), again)
    [record] = await told(caplog, work)
    assert "nothing is left of its retry budget 'all': " in record[3]


async def test_parts_of_a_native_gather_tell_of_themselves(caplog: pytest.LogCaptureFixture) -> None:
    part = _native.trial_fail(errno.EAGAIN).under(Timeout(30), Retry(on=OSError, backoff=constant(60)))
    [record] = await told(caplog, gather([part, _native.trial_noop(1)]))
    assert record[:3] == ("INFO", "fail", 1)
    assert "the wait of 60 s does not fit Timeout(30), of which " in record[3]
    assert record[3].endswith(f"BlockingIOError: [Errno {errno.EAGAIN}] {os.strerror(errno.EAGAIN)}")


async def test_natively_an_inherited_limit_is_named(caplog: pytest.LogCaptureFixture) -> None:
    @effect(Timeout(30), name="outer")
    async def outer() -> None:
        await _native.trial_fail(errno.EAGAIN).under(Retry(on=OSError, backoff=constant(60)))

    [record] = await told(caplog, outer())
    assert "the wait of 60 s does not fit Timeout(30) of effect 'outer', of which " in record[3]


@pytest.mark.parametrize("on", [Boom, OSError])
async def test_levels_are_asked_for_each_call(on: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An operator who turns the records on in a running program has them from the next call on."""

    def work() -> Effect[None]:
        again = Retry(on=on, attempts=2, backoff=NOW)
        return (
            _native.trial_fail(errno.EAGAIN).under(again) if on is OSError else fails(*[Boom()] * 2, policies=(again,))
        )

    for level, many in ((logging.WARNING, 0), (logging.INFO, 1), (logging.DEBUG, 2), (logging.WARNING, 0)):
        assert len(await told(caplog, work(), level)) == many


@pytest.mark.parametrize("on", [Boom, OSError])
async def test_while_they_are_off_nothing_is_made(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the text of the error."""

    class Costly(Boom, OSError):
        def __str__(self) -> str:
            raise AssertionError("somebody looked")

    monkeypatch.setattr(_logs, "native", None)
    logging.getLogger("mountain_runtime.policy").setLevel(logging.WARNING)
    try:
        work = fails(*[Costly()] * 2, policies=(Retry(on=on, attempts=2, backoff=NOW),))
        with pytest.raises(Costly):
            await work
    finally:
        logging.getLogger("mountain_runtime.policy").setLevel(logging.NOTSET)


async def test_an_error_that_cannot_be_shown_is_told_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    [record] = await told(caplog, fails(Mute(), policies=(Retry(on=Mute, backoff=NOW),)))
    assert record[3].endswith(f": {__name__}.{Mute.__qualname__}")


async def test_a_long_error_is_told_in_part(caplog: pytest.LogCaptureFixture) -> None:
    [record] = await told(caplog, fails(Boom("ü" * 10_000), policies=(Retry(on=Boom, backoff=NOW),)))
    assert 250 <= record[3].count("ü") <= 500


async def test_a_handler_that_fails_is_not_the_effects_fault(complaints: list[str]) -> None:
    class Wrong(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("a bug in a filter")

    log, wrong = logging.getLogger("mountain_runtime.policy"), Wrong()
    log.addFilter(wrong)
    log.setLevel(logging.DEBUG)
    try:
        await fails(Boom(), policies=(Retry(on=Boom, backoff=NOW),))
    finally:
        log.removeFilter(wrong)
        log.setLevel(logging.NOTSET)
    assert ["a bug in a filter" in each for each in complaints] == [True]


async def test_a_record_has_the_trace_that_its_call_belongs_to(caplog: pytest.LogCaptureFixture) -> None:
    with traces() as spans, caplog.at_level(logging.DEBUG, "mountain_runtime.policy"):
        with spans.tracer.start_as_current_span("request"):
            await fails(Boom(), policies=(Retry(on=Boom, backoff=NOW),))
        [request] = spans.named("request")
    [record] = [record for record in caplog.records if record.name == "mountain_runtime.policy"]
    assert request.context is not None
    assert getattr(record, "trace_id") == format(request.context.trace_id, "032x")  # noqa: B009


async def test_time_that_runs_out_around_it_is_the_limits_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    async def hangs() -> None:
        await asyncio.sleep(30)

    assert await told(caplog, effect(Timeout(0.001), Retry(on=TimedOut))(hangs)()) == []
