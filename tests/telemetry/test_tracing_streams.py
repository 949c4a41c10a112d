"""Spans of streams: one for each run, around what its generator does, and not around what its consumer does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.trace import StatusCode, get_current_span

from mountain_runtime import Retry, Timeout, constant, effect, stream

from .tracing import Boom, Spans


@effect(name="inside")
async def inside() -> None:
    await asyncio.sleep(0)


@effect(name="consumer")
async def consumer() -> None:
    await asyncio.sleep(0)


@stream(Timeout(9), name="tokens")
async def tokens(*, fails: bool = False) -> AsyncIterator[int]:
    for n in range(3):
        await inside()
        yield n
        yield n
    if fails:
        raise Boom


async def test_one_span_around_the_generator_alone(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("above"):
        around = get_current_span()
        async with tokens() as items:
            async for _ in items:
                assert get_current_span() is around
                await consumer()
        assert get_current_span() is around
    assert spans.parent("tokens") == "above"
    assert {spans.parent_of(span) for span in spans.named("inside")} == {"tokens"}
    assert {spans.parent_of(span) for span in spans.named("consumer")} == {"above"}


async def test_it_ends_as_the_stream_does(spans: Spans) -> None:
    with pytest.raises(Boom):
        async with tokens(fails=True) as items:
            async for _ in items:
                pass
    async with tokens() as items:
        await anext(items)
    ends = [span.status.status_code for span in spans.named("tokens")]
    assert ends == [StatusCode.ERROR, StatusCode.UNSET]


async def test_attempts_before_the_first_item(spans: Spans) -> None:
    tried = 0

    @stream(Retry(on=Boom, attempts=3, backoff=constant(0)), name="again")
    async def again() -> AsyncIterator[int]:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise Boom
        await inside()
        yield 1
        await inside()
        yield 2

    async with again() as items:
        assert [item async for item in items] == [1, 2]
    assert len(spans.named("again")) == 1
    assert get_current_span().get_span_context().span_id == 0
