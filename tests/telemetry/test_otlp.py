"""Spans that leave the process: a receiver of OTLP over HTTP, and endpoints that are no good."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

pytestmark = pytest.mark.processes

#: A program that traces to the endpoint in its first argument. It ends at once: the SDK's own end would wait for it.
HEAD = """
import asyncio, json, logging, os, re, sys, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from mountain_runtime import Retry, Runtime, Shutdown, _native, constant, effect

logging.disable()
if sys.argv[1:]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=sys.argv[1])))
    trace.set_tracer_provider(provider)


def ends(**found):
    text = _native.metrics_text(openmetrics=False)
    found["dropped"] = int(re.search(r"^mountain_spans_dropped_total (\\d+)", text, re.M)[1])
    print(json.dumps(found), flush=True)
    os._exit(0)
"""

#: A hundred effects in a runtime, and its end.
HUNDRED = """
@effect
async def work():
    await asyncio.sleep(0)

async def main():
    runtime = Runtime(shutdown=Shutdown(deadline=2))
    async with runtime:
        begun = time.monotonic()
        for _ in range(100):
            await work()
        took = time.monotonic() - begun
        begun = time.monotonic()
    stopped = time.monotonic() - begun
    steps = {step.name: step.outcome for step in runtime.report.steps}
    report = runtime.report
    lost = [report.spans_dropped, json.loads(report.to_json())["spans_dropped"], runtime.statistics().spans_dropped]
    ends(took=took, stopped=stopped, steps=steps, lost=lost, report=str(report))

asyncio.run(main())
"""


def run(source: str, *argv: str) -> Any:
    """The findings of a program."""
    program = [sys.executable, "-c", HEAD + textwrap.dedent(source), *argv]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(program, capture_output=True, text=True, timeout=20, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


class Receiver:
    """A server that answers each request so, and keeps what it was sent."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.spans: list[Any] = []
        self.requests = 0
        #: A request that hangs may go.
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.requests += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") is None:
                    request = ExportTraceServiceRequest.FromString(body)
                    scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
                    receiver.spans += [span for scope in scopes for span in scope.spans]
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def accepts(request: BaseHTTPRequestHandler) -> None:
    body = ExportTraceServiceResponse().SerializeToString()
    request.send_response(200)
    request.send_header("Content-Type", "application/x-protobuf")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers that are gone after the test."""
    made: list[Receiver] = []

    def make(answer: Callable[[BaseHTTPRequestHandler], None] = accepts) -> Receiver:
        made.append(Receiver(answer))
        return made[-1]

    yield make
    for each in made:
        each.end()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


PROGRAM = """
@effect(name="leaf")
async def leaf():
    raise ValueError("wrong")

@effect(Retry(on=ValueError, attempts=2, backoff=constant(0)), name="tries")
async def tries():
    await leaf()

async def main():
    async with Runtime(shutdown=Shutdown(deadline=5)) as runtime:
        with trace.get_tracer("application").start_as_current_span("above"):
            await _native.trial_noop()
            try:
                await tries()
            except ValueError:
                pass
    ends(steps={step.name: step.outcome for step in runtime.report.steps})

asyncio.run(main())
"""


def test_a_receiver_gets_the_spans_of_a_program(receiver: Callable[..., Receiver]) -> None:
    """All of them by the end of its runtime: their names, parents and errors."""
    there = receiver()
    found = run(PROGRAM, there.endpoint)
    assert found["steps"]["spans"] == "done"
    assert found["dropped"] == 0
    by_id = {span.span_id: span for span in there.spans}
    tree = sorted((span.name, by_id[span.parent_span_id].name if span.parent_span_id else "") for span in there.spans)
    assert tree == [
        ("above", ""),
        ("leaf", "tries attempt"),
        ("leaf", "tries attempt"),
        ("noop", "above"),
        ("tries", "above"),
        ("tries attempt", "tries"),
        ("tries attempt", "tries"),
    ]
    assert len({span.trace_id for span in there.spans}) == 1
    errors = {(span.name, attributes(span).get("error.type")) for span in there.spans}
    assert errors == {
        ("above", None),
        ("noop", None),
        ("leaf", "ValueError"),
        ("tries", "ValueError"),
        ("tries attempt", "ValueError"),
    }
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in there.spans)


def test_a_hundred_effects_arrive(receiver: Callable[..., Receiver]) -> None:
    there = receiver()
    found = run(HUNDRED, there.endpoint)
    assert [span.name for span in there.spans] == ["work"] * 100
    assert found["steps"]["spans"] == "done"


def test_without_tracing_there_is_no_step_for_it() -> None:
    found = run(HUNDRED)
    assert "spans" not in found["steps"]
    assert found["took"] < 1


# -- endpoints that are no good ------------------------------------------------------------------------------


def bounded(found: Any) -> None:
    """The effects and the end of the runtime took no longer than they may."""
    assert found["took"] < 1
    assert found["stopped"] < 3
    # The report, its JSON and the statistics say how many, and the report's text where there were any.
    assert found["lost"] == [found["dropped"]] * 3
    assert (f"spans that no exporter took: {found['dropped']}" in found["report"]) == (found["dropped"] > 0)
    natively = {outcome for name, outcome in found["steps"].items() if name.startswith("native")}
    assert natively == {"done"}


def test_an_endpoint_that_hangs_is_left_behind(receiver: Callable[..., Receiver]) -> None:
    there = receiver(lambda _request: there.over.wait(20) and None)
    found = run(HUNDRED, there.endpoint)
    bounded(found)
    assert there.requests == 1
    assert found["steps"]["spans"] == "abandoned"
    assert found["dropped"] > 0


def test_an_endpoint_that_never_accepts_is_left_behind() -> None:
    with closing(socket.socket()) as there:
        there.bind(("127.0.0.1", 0))
        there.listen()
        found = run(HUNDRED, f"http://127.0.0.1:{there.getsockname()[1]}/v1/traces")
    bounded(found)
    assert found["steps"]["spans"] == "abandoned"
    assert found["dropped"] > 0


def test_an_endpoint_that_refuses_holds_up_nothing() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # a port on which no program listens
        found = run(HUNDRED, f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces")
    bounded(found)
    assert found["steps"]["spans"] in ("done", "abandoned")


def garbage(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")
    request.close_connection = True


def unavailable(request: BaseHTTPRequestHandler) -> None:
    request.send_response(503)
    request.send_header("Content-Length", "0")
    request.end_headers()


@pytest.mark.parametrize("answer", [garbage, unavailable])
def test_an_endpoint_that_answers_nonsense_holds_up_nothing(
    receiver: Callable[..., Receiver], answer: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    there = receiver(answer)
    found = run(HUNDRED, there.endpoint)
    assert there.requests > 0
    bounded(found)
    assert found["steps"]["spans"] in ("done", "abandoned")
