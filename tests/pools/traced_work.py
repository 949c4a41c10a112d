"""Functions of workers whose spans are looked at."""

import os
import sys
from pathlib import Path
from typing import Any

from mountain_runtime import On, Retry, Runtime, blocking, constant, effect, pools

FILE = "MOUNTAIN_TEST_SPANS"


def exports_by_itself() -> Runtime:
    """A runtime of a worker in which the application traces: to a file."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class ToFile(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            with Path(os.environ[FILE]).open("a") as file:
                file.writelines(f"{span.name} {span.context.trace_id:032x}\n" for span in spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)
    return Runtime()


traced = pools.Processes(1, name="traced")
itself = pools.Processes(1, runtime=exports_by_itself, name="itself")


@effect(name="part")
async def part(n: int) -> int:
    if n == 1:
        raise ConnectionError("not yet")
    return n


@effect(On(traced), name="whole")
async def whole() -> int:
    numbers = iter(range(1, 3))

    @effect(Retry(on=ConnectionError, attempts=2, backoff=constant(0.001)), name="tries")
    async def tries() -> int:
        return await part(next(numbers))

    await tries()
    return os.getpid()


@blocking(On(traced), name="plain")
def plain(fails: bool = False) -> int:
    from opentelemetry import trace

    with trace.get_tracer("application", "1.2").start_as_current_span("inside", attributes={"list": [1, 2]}) as span:
        span.add_event("seen", {"n": 1})
        span.add_link(span.get_span_context(), {"to": "itself"})
    if fails:
        raise ValueError("wrong")
    return os.getpid()


@blocking(On(traced), name="many")
def many(count: int) -> int:
    from opentelemetry import trace

    tracer = trace.get_tracer("application")
    for n in range(count):
        tracer.start_span(f"span {n}").end()
    return os.getpid()


@blocking(On(traced))
def knows_of_traces() -> list[str]:
    return [name for name in sys.modules if name.startswith("opentelemetry.sdk") or name.endswith("_traced")]


@effect(On(itself), name="exported there")
async def exported_there() -> int:
    return os.getpid()
