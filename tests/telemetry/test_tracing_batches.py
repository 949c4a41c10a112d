"""The span of a batch is linked to those of its callers."""

import asyncio

from mountain_runtime import Retry, batch, constant, gather

from .tracing import Boom, Spans, attributes


@batch(10)
async def load(ids: list[int]) -> list[int]:
    return ids


async def test_a_batch_is_linked_to_its_callers(spans: Spans) -> None:
    await gather([load(1), load(2), load(3)])
    callers = [span.context for span in spans.named("load")]
    one = spans.one("load (batch)")
    assert len(callers) == 3
    assert {link.context.span_id for link in one.links} == {context.span_id for context in callers}
    assert one.parent is not None
    assert one.parent.span_id in {context.span_id for context in callers}
    assert attributes(one)["mountain.items"] == 3
    assert "mountain.items" not in attributes(spans.named("load")[0])


async def test_its_attempts_link_it_once(spans: Spans) -> None:
    fails = [Boom()]

    @batch(10, Retry(on=Boom, backoff=constant(0)))
    async def flaky(ids: list[int]) -> list[int]:
        if fails:
            raise fails.pop()
        return await asyncio.gather(*(load(each) for each in ids))

    await gather(flaky(1), flaky(2))
    assert len(spans.one("flaky (batch)").links) == 2
    assert len(spans.one("load (batch)").links) == 2
    assert attributes(spans.one("flaky (batch)"))["mountain.items"] == 2
    assert not any("mountain.items" in attributes(span) for span in spans.named("flaky (batch) attempt"))


async def test_a_span_has_as_many_links_as_any_and_all_items(spans: Spans) -> None:
    @batch(1000)
    async def many(ids: list[int]) -> list[int]:
        return ids

    await gather([many(n) for n in range(200)])
    one = spans.one("many (batch)")
    assert (len(one.links), attributes(one)["mountain.items"]) == (128, 200)
