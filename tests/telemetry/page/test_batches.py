"""Batches on the page: the row of one item's calls opens to how many items a batch has, and how long it waits."""

import re

import pytest

from mountain_runtime import Runtime, batch, gather
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import at, eventually, named

pytestmark = pytest.mark.processes

TEXT = "return document.querySelector('.detail .batches').textContent"


async def test_a_call_of_one_item_opens_to_its_batches(tab: Tab) -> None:
    name = named("load")

    @batch(10, name=name)
    async def load(ids: list[int]) -> list[int]:
        return ids

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await gather(load(1), load(2))
        await load(3)
        await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", name)
        await tab.click(f"[data-effect='{name}'] button")
        right = r"Batches: 2 of 1\.5 items · waited p50 [\d.]+ .?s · p99 [\d.]+ .?s"
        await eventually(lambda: tab.js(TEXT), lambda text: bool(re.fullmatch(right, text)))
        await tab.click(f"[data-effect='{name}'] button")
        await tab.click(f"[data-effect='{name} (batch)'] button")
        assert await eventually(lambda: tab.js("return document.querySelector('.detail .batches').hidden")) is True
