"""A policy that is kept for each key opens to its keys."""

import asyncio

import pytest
from selenium.webdriver.common.keys import Keys

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, Runtime, effect
from tests.telemetry.looks import HERE, Boom
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import BEYOND, CELLS, at, attempt, eventually, named

pytestmark = pytest.mark.processes

#: The rows of the keys of a policy that is open.
ROWS = """
const rows = [...document.querySelectorAll('.key-rows tbody tr')];
return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
"""


async def test_a_limit_opens_to_its_busiest_keys_and_the_others(tab: Tab) -> None:
    limit = ConcurrencyLimit(2, key=lambda host: host, name=named("limit"))
    plain = ConcurrencyLimit(3, name=named("plain"))
    release = asyncio.Event()

    @effect(limit, name=named())
    async def held(host: str) -> None:
        await release.wait()

    @effect(plain, name=named())
    async def other() -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        for n in range(24):
            rt.submit(held(f"host-{n:02}"))
        for _ in range(4):
            rt.submit(held("<b>busy</b>"))
        rt.submit(other())
        cells = await eventually(
            lambda: tab.js(CELLS, "limit", limit._name), lambda cells: cells[1:3] == ["26 in 25 keys", "0 · 2 · 0"]
        )
        assert cells[0] == limit._name
        assert (await tab.js(CELLS, "limit", plain._name))[1] == "1/3"
        row = f"[data-limit='{limit._name}']"
        await tab.until("return !document.querySelector(args[0]).disabled", f"{row} button")
        assert await tab.js("return document.querySelector(args[0]).disabled", f"[data-limit='{plain._name}'] button")
        full = "return document.querySelector(args[0]).closest('.panel').querySelector('.note').textContent"
        assert "full" in await tab.js(full, row), "a key is"
        await tab.click(f"{row} button")
        rows = await eventually(lambda: tab.js(ROWS), lambda rows: len(rows) == 20)
        assert rows[:2] == [["<b>busy</b>", "2/2", "2"], ["host-00", "1/2", "0"]]
        assert await tab.text(f"{row} + .detail .more") == "other: 5 keys · 5 in flight · 0 waiting"
        for width in (390, 1280):
            await tab.resize(width, 844)
            assert await tab.js(BEYOND) == [0, []]
        release.set()
        await eventually(lambda: tab.js(ROWS), lambda rows: rows == [])
        assert await tab.text(f"{row} + .detail .empty") == "All keys are at rest."
        await tab.press(Keys.ENTER)
        await tab.until("return document.querySelector('.policy .detail') === null")


async def test_a_breaker_opens_to_the_states_of_its_keys(tab: Tab) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=600, key=lambda host: host, name=named("breaker"))

    @effect(breaker, name=named())
    async def asks(host: str) -> None:
        raise Boom(host)

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await attempt(asks("b.example"))
        breaker.isolate("c.example")
        row = f"[data-breaker='{breaker._name}']"
        await tab.until("return document.querySelector(args[0])?.disabled === false", f"{row} button")
        await tab.click(f"{row} button")
        await eventually(lambda: tab.js(ROWS), lambda rows: rows == [["c.example", "isolated"], ["b.example", "open"]])
        breaker.reset("c.example")
        await eventually(lambda: tab.js(ROWS), lambda rows: rows[0] == ["b.example", "open"])
