"""Streams on the page: a row opens to those that are open, and to their items."""

import re
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import Runtime, effect, stream
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import at, eventually, named

pytestmark = pytest.mark.processes

TEXT = "return document.querySelector('.detail .streams').textContent"
HIDDEN = "return document.querySelector('.detail .streams').hidden"


async def test_a_stream_opens_to_its_items(tab: Tab) -> None:
    name, other = named("tokens"), named("other")

    @stream(name=name)
    async def tokens() -> AsyncIterator[int]:
        while True:
            yield 1

    @effect(name=other)
    async def no_stream() -> None: ...

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await no_stream()
        async with tokens() as items:
            for _ in range(128):
                await anext(items)
            await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", name)
            await tab.click(f"[data-effect='{name}'] button")
            right = r"Streams: 1 open · 128 items · first item p50 [\d.]+ .?s · p99 [\d.]+ .?s"
            await eventually(lambda: tab.js(TEXT), lambda text: bool(re.fullmatch(right, text)))
        await eventually(lambda: tab.js(TEXT), lambda text: text.startswith("Streams: 0 open · 128 items"))
        await tab.click(f"[data-effect='{name}'] button")
        await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", other)
        await tab.click(f"[data-effect='{other}'] button")
        assert await eventually(lambda: tab.js(HIDDEN)) is True
