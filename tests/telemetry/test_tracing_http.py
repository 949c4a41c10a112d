"""The trace goes on at the servers that are asked."""

from mountain_runtime import Retry, effect, gather, http, testing
from mountain_runtime.testing import Reply
from tests.providers.http.server import answering, echo, serving

from .tracing import Spans


def header(span: object) -> str:
    context = span.context  # type: ignore[attr-defined]
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


async def test_a_request_goes_out_with_the_trace_of_its_call(spans: Spans, tmp_path: object) -> None:
    """Not with that of the code that made it."""

    @effect(name="caller")
    async def caller() -> None:
        await made
        await under
        await client.post("/", json=1, headers={"Traceparent": "mine"})
        async with client.open("GET", "/"):
            pass
        await client.download("/", f"{tmp_path}/file")

    with serving(answering(echo)) as server:
        client = http.Client(server.url)
        made = client.get("/")
        under = made.under(Retry(on=http.transient))
        await caller()
        sent = [request.headers.get("traceparent") for request in server.requests]
    expected = header(spans.one("caller"))
    assert sent == [expected, expected, "mine", expected, expected]


async def test_the_same_request_in_two_calls_has_the_trace_of_each(spans: Spans) -> None:
    @effect(name="caller")
    async def caller() -> None:
        await gather(made, made)

    with serving(answering(echo)) as server:
        made = http.Client(server.url).get("/").under(Retry(on=lambda _: False))
        await caller()
        await caller()
        sent = [request.headers["traceparent"] for request in server.requests]
    traces = {f"{span.context.trace_id:032x}" for span in spans.named("caller")}
    assert {text.split("-")[1] for text in sent} == traces
    assert len(traces) == 2


async def test_a_faked_request_has_it_too(spans: Spans) -> None:
    @effect(name="caller")
    async def caller() -> None:
        await http.Client("http://a.test").get("/")

    with testing.http(lambda _: Reply()) as requests:
        await caller()
    assert requests[0].headers["traceparent"].split("-")[1] == f"{spans.one('caller').context.trace_id:032x}"


async def test_without_a_trace_there_is_no_header() -> None:
    with serving(answering(echo)) as server:
        await http.Client(server.url).get("/")
    assert "traceparent" not in server.requests[0].headers
    with testing.http(lambda _: Reply()) as requests:
        await http.Client("http://a.test").get("/")
    assert "traceparent" not in requests[0].headers
