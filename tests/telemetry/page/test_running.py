"""Running, failed and stopping work is on the page."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from selenium.webdriver.common.keys import Keys

from mountain_runtime import (
    ConcurrencyLimit,
    Fallback,
    Key,
    Retry,
    Runtime,
    Timeout,
    constant,
    effect,
    gather,
)
from mountain_runtime.telemetry import _failures
from tests.lifecycle.support import LONG
from tests.telemetry.looks import HERE, Boom
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import (
    CELLS,
    RUNNING,
    at,
    attempt,
    entered,
    eventually,
    named,
)

pytestmark = pytest.mark.processes


# -- what runs -----------------------------------------------------------------------------------------------------


async def test_what_runs_is_a_tree_with_state_age_and_deadline_until_it_ends(tab: Tab) -> None:
    limit = ConcurrencyLimit(1, name=named("limit"))
    parent, child, failing = named("parent"), named("child"), named("failing")
    release = asyncio.Event()

    @effect(limit, name=child)
    async def below() -> None:
        await release.wait()

    @effect(Retry(on=OSError, attempts=2, backoff=constant(LONG)), name=failing)
    async def retried() -> None:
        raise OSError("once more")

    @effect(Timeout(90), name=parent)
    async def above() -> None:
        await gather(below(), below(), retried())

    def seconds(text: str) -> float:
        minutes, rest = re.fullmatch(r"(?:(\d+)m )?([\d.]+) ?s", text).groups()  # type: ignore[union-attr]
        return 60 * int(minutes or 0) + float(rest)

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        begun = time.monotonic()
        handle = rt.submit(above())
        children = await eventually(lambda: tab.js(RUNNING, child), lambda rows: len(rows) == 2)
        [top] = await tab.js(RUNNING, parent)
        [back] = await tab.js(RUNNING, failing)
        assert top["depth"] == 0
        assert top["state"] == "running"
        assert {row["state"] for row in children} == {"running", "waiting"}
        assert [row["on"] for row in children if row["state"] == "waiting"] == [repr(limit)]
        assert back["state"] == "backing off"
        assert back["on"].startswith("Retry(")
        for row in (*children, back):
            assert row["depth"] > top["depth"]
            assert row["place"] > top["place"]
            assert 80 < seconds(row["left"]) <= 90, "what its parent's Timeout leaves it"
        assert (await tab.text("#now-note")).count("backing off") == 1

        aged = await eventually(lambda: tab.js(RUNNING, parent), lambda rows: seconds(rows[0]["age"]) >= 1)
        assert seconds(aged[0]["age"]) <= time.monotonic() - begun + 0.3
        await eventually(
            lambda: tab.js(RUNNING, failing), lambda rows: seconds(rows[0]["left"]) < seconds(back["left"])
        )

        release.set()
        await eventually(lambda: tab.js(RUNNING, child), lambda rows: rows == [])
        assert len(await tab.js(RUNNING, failing)) == 1
        handle.cancel()
        await tab.until(
            "return ![...document.querySelectorAll('[data-run] .name')].some((n) => n.textContent === args[0])", parent
        )


async def test_what_falls_back_says_by_which_policy(tab: Tab) -> None:
    name, release = named("on a ladder"), asyncio.Event()

    @effect(name=named("rung"))
    async def rung() -> None:
        await release.wait()

    fallback = Fallback(rung, on=Boom)

    @effect(fallback, name=name)
    async def ask() -> None:
        raise Boom

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        handle = rt.submit(ask())
        [row] = await eventually(lambda: tab.js(RUNNING, name), lambda rows: len(rows) == 1)
        assert (row["state"], row["on"]) == ("falling back", repr(fallback))
        assert (await tab.text("#now-note")).count("1 falling back") == 1
        release.set()
        await handle


async def test_a_deep_chain_and_many_at_once_are_shown_in_part(tab: Tab) -> None:
    deep, many = named("deep"), named("many")
    release = asyncio.Event()

    @effect(name=deep)
    async def down(n: int) -> None:
        await (down(n - 1) if n else release.wait())

    @effect(name=many)
    async def held() -> None:
        await release.wait()

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        works = [rt.submit(down(20))] + [rt.submit(held()) for _ in range(400)]
        rows = await eventually(lambda: tab.js(RUNNING, deep), lambda rows: len(rows) == 21)
        assert [row["depth"] for row in rows] == [min(n, 10) for n in range(21)]
        shown = "return document.querySelector('#now-panel .more').textContent"
        # The first look may come before all of them are there.
        await eventually(lambda: tab.until(shown), lambda more: int(re.fullmatch(r"and (\d+) more", more)[1]) >= 121)
        release.set()
        for work in works:
            await work
        await eventually(lambda: tab.js(RUNNING, many), lambda rows: rows == [])


# -- failures ------------------------------------------------------------------------------------------------------


async def test_failures_open_to_their_tracebacks(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_failures, "_MOST", 1000)
    name = named()

    @effect(name=name)
    async def fails(n: int) -> None:
        raise Boom(f"number {n}")

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        assert await tab.js("return document.querySelector('#failures-panel .empty').hidden") is False
        for n in range(3):
            await attempt(fails(n))
        messages = "return [...document.querySelectorAll('.failures .message')].map((n) => n.textContent)"
        await eventually(lambda: tab.js(messages), lambda found: found == ["number 2", "number 1", "number 0"])
        assert await tab.text(".failures .name") == name
        assert (await tab.text(".failures .type")).endswith("Boom")
        assert re.fullmatch(r"just now|\d s ago", await tab.text(".failures .when"))
        assert await tab.js("return document.querySelector('.failures pre')") is None
        await tab.click(".failures li:nth-child(2) summary")
        trace = await tab.until("return document.querySelector('.failures pre')?.textContent")
        assert trace.startswith("Traceback (most recent call last)")
        assert 'raise Boom(f"number {n}")' in trace
        assert trace.rstrip().endswith("Boom: number 1")

        # It stays open while others come, and the keyboard closes it.
        await attempt(fails(3))
        await eventually(lambda: tab.js(messages), lambda found: len(found) == 4)
        assert "number 1" in await tab.text(".failures li:nth-child(3) pre")
        await tab.press(Keys.ENTER)
        await tab.until("return document.querySelector('.failures pre') === null")


# -- shutdown ------------------------------------------------------------------------------------------------------


async def test_the_shutdown_is_shown_while_a_service_stops(tab: Tab) -> None:
    store, leave, stop = Key[str]("store"), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opens() -> AsyncIterator[str]:
        yield "store"
        await stop.wait()

    rt = Runtime(dashboard=HERE).provide(store, opens)
    steps = (
        "return [...document.querySelectorAll('.steps tbody tr')].map((row) => [...row.cells].map((c) => c.innerText))"
    )
    async with entered(rt, leave):
        try:
            async with at(tab, rt):
                await eventually(lambda: tab.js(CELLS, "service", "store"), lambda row: row[1:2] == ["up"])
                assert await tab.js("return document.querySelector('#shutdown').hidden")
                leave.set()
                await tab.until("return !document.querySelector('#shutdown').hidden")
                rows = await eventually(
                    lambda: tab.js(steps),
                    lambda rows: any("store" in name and "running" in was for name, was, *_ in rows),
                )
                assert ["refuse", "done"] in [row[:2] for row in rows]
                assert ["drain", "done"] in [row[:2] for row in rows]
                assert await tab.text("#shutdown .phase") == "stopping"
                assert re.fullmatch(r"[\d.]+ s left", await tab.text("#shutdown .subhead .figure"))
                assert "1 service" in await tab.text("#shutdown .note")
                await eventually(lambda: tab.js(CELLS, "service", "store"), lambda row: row[1] == "stopping")
                await tab.until("return document.querySelector('#health').textContent === 'live, not ready'")
                took = "return document.querySelector('.steps tbody tr:last-child .took').textContent"
                before = await tab.js(took)
                await tab.until("return (() => {" + took + "})() !== args[0]", before)
        finally:
            stop.set()
