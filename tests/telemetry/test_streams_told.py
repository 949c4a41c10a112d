"""Streams in metrics, statistics and spans, and on the live page."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mountain_runtime import Retry, Runtime, Timeout, _native, constant, errors, stream
from mountain_runtime._runtime.statistics import EffectStatistics, snapshot
from mountain_runtime.testing import VirtualClock

from .looks import HERE, looking
from .tracing import Spans, attributes, traces


def named() -> str:
    return f"items {uuid4().hex}"


def told(name: str) -> EffectStatistics:
    return snapshot().effects[name]


def scraped(name: str) -> dict[str, float]:
    """The stream's metrics: each sample without its buckets."""
    found = {}
    for family in text_string_to_metric_families(_native.metrics_text(openmetrics=True)):
        for sample in family.samples:
            if sample.labels.get("stream") == name and "le" not in sample.labels:
                found[sample.name] = sample.value
    return found


async def at_once(n: int) -> AsyncIterator[int]:
    for item in range(n):
        yield item


async def each_second(n: int) -> AsyncIterator[int]:
    for item in range(n):
        await asyncio.sleep(1)
        yield item


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000])
async def test_every_item_counts_once_at_the_end(n: int) -> None:
    name = named()
    items = stream(name=name)(at_once)
    assert len([item async for item in items(n)]) == n
    assert len([item async for item in items(n)]) == n
    found = told(name)
    assert (found.started, found.succeeded, found.open, found.items) == (2, 2, 0, 2 * n)
    assert math.isnan(found.first_item) == (n == 0)


async def test_an_open_stream_shows_its_items_when_a_pull_waits(virtual_clock: VirtualClock) -> None:
    name = named()
    async with stream(name=name)(each_second)(10**9) as items:
        for _ in range(3):
            await anext(items)
        waits = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        found = scraped(name)
        assert (found["mountain_streams_open"], found["mountain_stream_items_total"]) == (1, 3)
        assert (found["mountain_stream_first_item_seconds_count"], found["mountain_stream_first_item_seconds_sum"]) == (
            1,
            pytest.approx(1, rel=1e-3),
        )
        assert await waits == 3
    assert (told(name).open, told(name).items) == (0, 4)
    assert told(name).first_item == pytest.approx(1, rel=0.25)


async def test_of_items_that_come_at_once_at_most_64_are_not_yet_told() -> None:
    name = named()
    async with stream(name=name)(at_once)(10**9) as items:
        for n in range(1, 300):
            await anext(items)
            assert n - 64 < told(name).items <= n
    assert told(name).items == 299


async def test_a_stream_that_fails_is_cut_or_is_dropped_is_open_no_more(virtual_clock: VirtualClock) -> None:
    async def fails() -> AsyncIterator[int]:
        yield 1
        raise ValueError

    name = named()
    with pytest.raises(ValueError):
        [item async for item in stream(name=name)(fails)()]
    with pytest.raises(errors.TimedOut):
        [item async for item in stream(Timeout(2.5), name=name)(each_second)(10)]
    task = asyncio.ensure_future(anext(aiter(stream(name=name)(each_second)(10))))
    await asyncio.sleep(0.5)
    assert told(name).open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = aiter(stream(name=name)(each_second)(10))
    assert await anext(left) == 0
    del left
    assert (told(name).open, told(name).items) == (0, 4)


async def test_tries_again_are_one_stream(virtual_clock: VirtualClock) -> None:
    tries = 0

    async def flaky() -> AsyncIterator[int]:
        nonlocal tries
        tries += 1
        await asyncio.sleep(1)
        if tries < 3:
            raise ConnectionError
        yield 1

    name = named()
    assert [item async for item in stream(Retry(on=ConnectionError, backoff=constant(0)), name=name)(flaky)()] == [1]
    found = scraped(name)
    assert found["mountain_stream_items_total"] == found["mountain_stream_first_item_seconds_count"] == 1
    assert found["mountain_stream_first_item_seconds_sum"] == pytest.approx(3, rel=1e-3)


def test_a_stream_whose_loop_has_closed_is_open_until_it_is_dropped() -> None:
    name = named()
    kept: list[Any] = []

    async def leaves() -> None:
        items = aiter(stream(Timeout(60), name=name)(each_second)(10))
        kept.append(items)
        task = asyncio.ensure_future(anext(items))
        kept.append(task)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leaves())
    assert told(name).open == 1
    loop.close()
    kept[1]._log_destroy_pending = False
    kept.clear()
    gc.collect()
    assert (told(name).open, told(name).cancelled) == (0, 1)


async def test_its_span_has_the_first_item_the_number_and_the_break(virtual_clock: VirtualClock) -> None:
    with traces() as spans:
        await read_three(spans)


async def read_three(spans: Spans) -> None:
    whole, left, failed = (stream(name=f"{each} of the test")(each_second) for each in ("whole", "left", "failed"))
    assert [item async for item in whole(3)] == [0, 1, 2]
    async with left(3) as items:
        await anext(items)
    with pytest.raises(errors.TimedOut):
        async with failed(3).under(Timeout(1.5)) as items:
            [item async for item in items]
    one = spans.one("whole of the test")
    assert [event.name for event in one.events] == ["first item"]
    assert attributes(one)["mountain.items"] == 3
    assert (one.end_time or 0) >= (one.events[0].timestamp or 0) >= (one.start_time or 0)
    one = spans.one("left of the test")
    assert [event.name for event in one.events] == ["first item", "left"]
    assert (attributes(one)["mountain.items"], one.status.status_code.name) == (1, "UNSET")
    one = spans.one("failed of the test")
    assert attributes(one)["mountain.items"] == 1
    assert one.status.status_code.name == "ERROR"


async def test_the_live_page_has_them(client: httpx.AsyncClient) -> None:
    name = named()
    async with Runtime(dashboard=HERE) as rt, looking(client, rt) as look:
        async with stream(name=name)(at_once)(1000) as items:
            for _ in range(128):
                await anext(items)
            state = await look.until(lambda state: name in state["effects"])
            shown = state["effects"][name]["streams"]
            assert (shown["open"], shown["items"]) == (1, 128)
            assert shown["first_p50"] > 0
        state = await look.until(lambda state: state["effects"][name]["streams"]["open"] == 0)
        assert state["effects"][name]["streams"]["items"] == 128
