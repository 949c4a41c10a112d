"""Batches in metrics and on the live page: how many items they begin with, and how long they wait for them."""

import asyncio

import httpx
import pytest

from mountain_runtime import Retry, Runtime, _native, batch, constant, gather
from mountain_runtime.testing import VirtualClock

from .looks import HERE, looking
from .scrapes import Boom, named, samples, value


def begun(name: str) -> tuple[float, float]:
    """The batches that began, and their items."""
    return value("mountain_batch_items_count", batch=name), value("mountain_batch_items_sum", batch=name)


def sizes(name: str) -> dict[str, float]:
    """The batches of at most so many items, where there are more than below."""
    found, below = {}, 0.0
    for sample in samples("mountain_batch_items"):
        if sample.labels["batch"] == name and "le" in sample.labels and sample.value > below:
            found[sample.labels["le"]], below = sample.value, sample.value
    return found


async def test_each_batch_counts_with_its_items_and_its_wait(virtual_clock: VirtualClock) -> None:
    name = named("batch")

    @batch(4, wait=10, name=name)
    async def load(ids: list[int]) -> list[int]:
        await asyncio.sleep(60)
        return ids

    await gather([load(n) for n in range(9)])
    assert begun(name) == (3, 9)
    assert sizes(name) == {"1.0": 1, "7.0": 3}
    assert value("mountain_batch_wait_seconds_count", batch=name) == 3
    assert value("mountain_batch_wait_seconds_sum", batch=name) == pytest.approx(10, rel=1e-3)


async def test_items_that_were_taken_out_do_not_count(virtual_clock: VirtualClock) -> None:
    name = named("batch")

    @batch(10, wait=5, name=name)
    async def load(ids: list[int]) -> list[int]:
        return ids

    alone = asyncio.ensure_future(load(0))
    await virtual_clock.advance(1)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    await virtual_clock.advance(10)
    assert begun(name) == (0, 0)
    leaves, stays = (asyncio.ensure_future(load(n)) for n in (1, 2))
    await virtual_clock.advance(1)
    leaves.cancel()
    assert await stays == 2
    assert begun(name) == (1, 1)


async def test_a_batch_that_is_sent_again_is_one_and_one_that_fails_counts() -> None:
    name = named("batch")
    faults = [Boom(), None, Boom(), Boom()]

    @batch(10, Retry(on=Boom, attempts=2, backoff=constant(0)), name=name)
    async def load(ids: list[int]) -> list[int]:
        if fault := faults.pop(0):
            raise fault
        return ids

    await gather(load(1), load(2))
    assert begun(name) == (1, 2)
    with pytest.raises(Boom):
        await load(3)
    assert begun(name) == (2, 3)
    assert value("mountain_effect_started_total", effect=f"{name} (batch)") == 2


async def test_calls_under_policies_of_their_own_and_of_all_objects_are_of_one_name() -> None:
    name = named("batch")

    class Api:
        @batch(10, name=name)
        async def load(self, ids: list[int]) -> list[int]:
            return ids

    first, second = Api(), Api()
    await gather(first.load(1).under(Retry(on=Boom)), first.load(2), second.load(3))
    assert begun(name) == (2, 3)


async def test_nothing_counts_while_counting_is_off() -> None:
    name = named("batch")

    @batch(10, name=name)
    async def load(ids: list[int]) -> list[int]:
        return ids

    _native.count_effects(False)
    try:
        await load(1)
    finally:
        _native.count_effects(True)
    assert begun(name) == (0, 0)
    await load(1)
    assert begun(name) == (1, 1)


async def test_the_live_page_has_them_with_the_calls_of_one_item(client: httpx.AsyncClient) -> None:
    name = named("batch")

    @batch(10, name=name)
    async def load(ids: list[int]) -> list[int]:
        return ids

    async with Runtime(dashboard=HERE) as rt, looking(client, rt) as look:
        await gather(load(1), load(2), load(3))
        await load(4)
        state = await look.until(lambda state: state["effects"].get(name, {}).get("batches", {}).get("begun") == 2)
        found = state["effects"][name]["batches"]
        assert found["items"] == 4
        assert 0 < found["wait_p50"] <= found["wait_p99"] < 1
        assert "batches" not in state["effects"][f"{name} (batch)"]
