"""The cost of observation: metrics, spans, a scrape, and the live page.

`metrics`, `sampled-out` and `span` are what each adds to a call of a trivial effect. The peers add theirs to the bare
function: prometheus-client a counter and a histogram, OpenTelemetry's SDK its own span.
"""

import asyncio
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benches.harness import OURS, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.workloads import added, in_pairs, one_after_another
from mountain_runtime import Runtime, _native, effect

CASES: Mapping[str, tuple[str, ...]] = {
    "metrics": ("prometheus_client",),
    "sampled-out": ("opentelemetry",),
    "span": ("opentelemetry",),
    "scrape": ("prometheus_client",),
    "dashboard-gap": ("no page",),
}

#: Effects whose figures are scraped; no more of them have names of their own.
EFFECTS = 1000
#: Of the page's case: effects a second, and how often some of them begin, in seconds.
PACE, EVERY = 10_000, 0.001
ROOT = Path(__file__).resolve().parents[2]

Call = Callable[[int], Awaitable[int]]
Block = Callable[[Sequence[int]], Awaitable[Sample]]


async def trivial(number: int) -> int:
    """A call that has its answer at once."""
    return number


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The five cases."""
    yield _metrics(scale)
    for case, sampled in (("sampled-out", False), ("span", True)):
        with _traced(sampled) as (tracing, provider):
            yield _spans(case, scale, tracing, provider)
    yield _page(scale)
    yield await _scrape(scale)  # the last one: its thousand effects stay


# -- what is added to a call ----------------------------------------------------------------------------------------


def _added(case: str, scale: Scale, sides: Mapping[str, tuple[Block, Block]]) -> Contest:
    numbers = range(scale.pick(full=1000, quick=1000, tiny=20))
    turns = {name: partial(added, without, call, numbers) for name, (without, call) in sides.items()}
    rounds = scale.pick(full=100, quick=40, tiny=2)
    return Contest(rounds, turns, in_pairs(numbers), (Measure(case, "us"),))


def _metrics(scale: Scale) -> Contest:
    call = effect(trivial)

    async def ours(counted: bool, numbers: Sequence[int]) -> Sample:
        _native.count_effects(counted)
        try:
            return await one_after_another(call, numbers)
        finally:
            _native.count_effects(True)

    sides: dict[str, tuple[Block, Block]] = {OURS: (partial(ours, False), partial(ours, True))}
    if client := optional("prometheus_client"):
        registry = client.CollectorRegistry()
        count = client.Counter("calls", "Calls.", ["effect"], registry=registry).labels("trivial")
        times = client.Histogram("seconds", "Seconds.", ["effect"], registry=registry).labels("trivial")

        async def counted(number: int) -> int:
            begun = perf_counter()
            try:
                return await trivial(number)
            finally:
                count.inc()
                times.observe(perf_counter() - begun)

        sides["prometheus_client"] = _bare_and(counted)
    return _added("metrics", scale, sides)


def _bare_and(call: Call) -> tuple[Block, Block]:
    return partial(one_after_another, trivial), partial(one_after_another, call)


# -- spans ----------------------------------------------------------------------------------------------------------


@contextmanager
def _traced(sampled: bool) -> Iterator[tuple[Any, Any]]:
    """The tracing that our side knows, and the provider: below a span that is recorded, or one that is not."""
    if not (sdk := optional("opentelemetry.sdk.trace")):
        yield None, None
        return
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from mountain_runtime.telemetry import _otel, _spans

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = sdk.TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    above = trace.NonRecordingSpan(trace.SpanContext(1, 1, False, flags))
    try:
        with trace.use_span(above):
            yield _spans.tracing(provider, _otel._ended, _otel._first, _otel.hand_over), provider
    finally:
        _native.trace(None)
        provider.shutdown()


def _spans(case: str, scale: Scale, tracing: Any, provider: Any) -> Contest:
    """Ours hands over within the time that is measured. Without the SDK there is no contestant, nor ours."""
    call = effect(trivial)

    async def ours(traced: bool, numbers: Sequence[int]) -> Sample:
        from mountain_runtime.telemetry import _otel

        _native.trace(tracing if traced else None)
        begun = perf_counter()
        sample = await one_after_another(call, numbers)
        if traced and case == "span":
            _otel.hand_over()
        return Sample(((perf_counter() - begun) / len(numbers) * 1e6,), sample.answer)

    sides: dict[str, tuple[Block, Block]] = {OURS: (partial(ours, False), partial(ours, True))}
    if provider is not None:
        tracer = provider.get_tracer("bench")

        async def spanned(number: int) -> int:
            with tracer.start_as_current_span("trivial"):
                return await trivial(number)

        sides["opentelemetry"] = _bare_and(spanned)
    return _added(case, scale, sides)


# -- a scrape -------------------------------------------------------------------------------------------------------


async def _scrape(scale: Scale) -> Contest:
    """Milliseconds to write down what is known of so many effects; the peer has as many series of the same kinds."""
    for number in range(EFFECTS):
        await effect(name=f"bench.observe.effect_{number}")(trivial)(number)
    texts: dict[str, Callable[[], str]] = {OURS: lambda: _native.metrics_text(openmetrics=True)}
    if client := optional("prometheus_client"):
        from prometheus_client.openmetrics.exposition import generate_latest

        registry = client.CollectorRegistry()
        kinds = ("started", "succeeded", "timed_out", "cancelled", "rejected", "retried", "degraded")
        counters = [client.Counter(kind, kind, ["effect"], registry=registry) for kind in kinds]
        bounds = [2.0**power * 1e-9 for power in (13, 15, 17, *range(19, 32), 33, 35, 37)]
        seconds = client.Histogram("seconds", "Seconds.", ["effect"], buckets=bounds, registry=registry)
        for number in range(EFFECTS):
            for counter in counters:
                counter.labels(f"bench.observe.effect_{number}").inc()
            seconds.labels(f"bench.observe.effect_{number}").observe(1e-5)
        texts["prometheus_client"] = lambda: generate_latest(registry).decode()
    turns = {name: partial(_written, write) for name, write in texts.items()}
    return Contest(scale.pick(full=51, quick=21, tiny=2), turns, True, (Measure("scrape", "ms"),))


async def _written(write: Callable[[], str]) -> Sample:
    begun = perf_counter()
    text = write()
    took = perf_counter() - begun
    return Sample((took * 1e3,), text.count("started_total{effect=") in (EFFECTS, EFFECTS + 1))  # with `other`


# -- the page -------------------------------------------------------------------------------------------------------


def _page(scale: Scale) -> Contest:
    """How late the loop is at most in 999 of 1,000 cases: `ours` with the page open, the peer without it."""
    turns: dict[str, Round] = {
        OURS: partial(_paced, scale, True),
        "no page": partial(_paced, scale, False),
    }

    def percent(name: str, samples: Samples) -> list[float]:
        return figures(samples[name], 1)

    core = Extra(
        "dashboard-gap", "no page, percent of a core", "%", partial(percent, OURS), partial(percent, "no page"), (OURS,)
    )
    measure = Measure("dashboard-gap", "ms")
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, True, (measure,), (core,))


async def _paced(scale: Scale, shown: bool) -> Sample:
    call = effect(name="bench.observe.paced")(trivial)
    ticks = scale.pick(full=5000, quick=3000, tiny=50)
    late: list[float] = []
    async with Runtime(dashboard="127.0.0.1:0" if shown else None) as rt:
        with ExitStack() as stack:
            if shown:
                await _looked_at(stack, rt)
            loop = asyncio.get_running_loop()
            begun, computed = loop.time(), process_time()
            for tick in range(ticks):
                then = begun + tick * EVERY
                await asyncio.sleep(then - loop.time())
                late.append(loop.time() - then)
                for number in range(int(PACE * EVERY)):
                    await call(number)
            took, computed = loop.time() - begun, process_time() - computed
    cut = statistics.quantiles(late, n=1000)[-1] if len(late) > 1 else late[0]
    return Sample((max(cut, 1e-6) * 1e3, computed / took * 100), len(late) == ticks)


#: Reads the page's events as a browser does, in a process of its own.
READER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as events:
    print(events.readline(), flush=True)
    while events.readline():
        pass
"""


async def _looked_at(stack: ExitStack, rt: Any) -> None:
    """A client has the page open."""
    reader = stack.enter_context(
        subprocess.Popen([sys.executable, "-c", READER, rt._page.url + "events"], stdout=subprocess.PIPE)
    )
    stack.callback(reader.kill)
    assert reader.stdout is not None
    await asyncio.to_thread(reader.stdout.readline)
