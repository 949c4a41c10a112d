"""The delivery of spans, and the records about it."""

import asyncio
import gc
import logging
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import pytest

from mountain_runtime import (
    _native,
    effect,
)
from mountain_runtime.telemetry import _logs, _otel

from .tracing import Spans, dropped, leaf

# -- delivery --------------------------------------------------------------------------------------------------


async def test_spans_are_delivered_a_moment_later_by_themselves(spans: Spans) -> None:
    await leaf()
    assert spans._exporter.get_finished_spans() == ()
    end = time.monotonic() + 2
    while not spans._exporter.get_finished_spans():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_spans_of_a_loop_that_is_closed_wait_for_no_other(spans: Spans) -> None:
    """Those of the loop before are delivered with those of the next, a moment later."""

    async def main(seconds: float) -> None:
        await leaf()
        await asyncio.sleep(seconds)

    asyncio.run(main(0))
    asyncio.run(main(0.3))
    assert len(spans._exporter.get_finished_spans()) == 2


def test_spans_of_a_loop_wait_for_no_other_that_is_held_up(spans: Spans) -> None:
    began, go_on = threading.Event(), threading.Event()

    async def held_up() -> None:
        await leaf()
        began.set()
        go_on.wait(20)

    async def free() -> None:
        await leaf()
        end = time.monotonic() + 5
        while len(spans._exporter.get_finished_spans()) < 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(held_up()))
    thread.start()
    try:
        assert began.wait(5)
        asyncio.run(free())
    finally:
        go_on.set()
        thread.join(20)


@pytest.mark.processes
def test_a_forked_child_exports_its_own_spans_and_none_of_its_parent_s() -> None:
    source = """
        import asyncio, os, sys
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
        from mountain_runtime import effect

        class Prints(SpanExporter):
            def export(self, spans):
                for span in spans:
                    os.write(1, f"{who} {span.name}\\n".encode())
                return SpanExportResult.SUCCESS

        who = "parent"
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(Prints()))
        trace.set_tracer_provider(provider)

        async def main():
            await effect(name="early")(asyncio.sleep)(0)
            child = os.fork()
            if child == 0:
                global who
                who = "child"
                asyncio.events._set_running_loop(None)
                asyncio.run(in_child())
                os._exit(0)
            os.waitpid(child, 0)
            await asyncio.sleep(0.1)

        async def in_child():
            await effect(name="late")(asyncio.sleep)(0)
            await asyncio.sleep(0.1)

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert sorted(done.stdout.splitlines()) == ["child late", "parent early"], done.stderr


async def test_the_queue_is_bounded(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that are never taken are counted, and take no memory."""
    _native.trace(_tracing_without_hands(spans))
    before = dropped()
    for _ in range(8192):
        await _native.trial_noop()
    assert (len(_otel._ended), dropped() - before) == (8192, 0)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(2000):
            await _native.trial_noop()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(_otel._ended), dropped() - before) == (8192, 2000)
    assert grown < 100_000


def _tracing_without_hands(spans: Spans) -> _native.Tracing:
    from mountain_runtime.telemetry._spans import tracing

    return tracing(spans.provider, _otel._ended, lambda: None, lambda: None)


# -- logs ------------------------------------------------------------------------------------------------------


async def test_a_log_record_carries_its_trace(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    log = _logs.logger("effect")

    @effect(name="logs")
    async def logs() -> None:
        log.warning("hello")

    with caplog.at_level(logging.WARNING):
        await logs()
        log.warning("outside")
    inside, outside = caplog.records
    assert inside.trace_id == format(spans.one("logs").context.trace_id, "032x")  # type: ignore[attr-defined]
    assert (inside.effect, inside.attempt) == (None, None)  # type: ignore[attr-defined]
    assert outside.trace_id is None  # type: ignore[attr-defined]
