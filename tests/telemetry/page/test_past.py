"""A page that is opened late shows the minutes before, and no figure of what never was."""

import asyncio
import math
import re

import httpx
import pytest

from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit, Runtime, effect
from mountain_runtime.testing import open_circuit
from tests.telemetry.looks import A_STATE_A_SECOND, HERE, Boom, Look, looking, snapshot
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import CELLS, FIELDS, an_effect, at, attempt, eventually, named

pytestmark = pytest.mark.processes

#: The points of a line: each a place and a height.
POINTS = "return document.querySelector(args[0]).getAttribute('d')?.match(/[\\d.]+ [\\d.]+/g)?.length ?? 0"


async def until_sampled(client: httpx.AsyncClient, rt: Runtime, name: str) -> Look:
    """A look at the whole, once the server has a sample in which that effect has started: it takes one a second."""
    async with asyncio.timeout(10):
        while True:
            look = await snapshot(client, rt)
            if any(look.state["past"]["effects"].get(name, [])):
                return look
            await asyncio.sleep(0.05)  # the server's thread keeps real time


@A_STATE_A_SECOND
async def test_the_past_is_kept_while_no_page_is_open_and_shown_at_once(tab: Tab, client: httpx.AsyncClient) -> None:
    name, failing = named(), named("failing")
    async with Runtime(dashboard=HERE) as rt:
        for _ in range(7):
            await an_effect(name)()
        await attempt(an_effect(failing, Boom("no"))())
        look = await until_sampled(client, rt, name)
        past = look.state["past"]
        # All of them within one sample or two, of about a second each.
        assert 4 <= sum(past["effects"][name]) <= 8
        assert sum(past["headlines"]["effects"]) >= sum(past["effects"][name])
        assert sum(past["headlines"]["errors"]) > 0
        assert {len(samples) for samples in past["headlines"].values()} == {len(past["headlines"]["effects"])}
        await asyncio.sleep(2.1)  # two more samples, in real time: a line has two points at least
        async with at(tab, rt):
            both = f"return [await (async () => {{ {POINTS} }})(), +document.documentElement.dataset.seq]"
            drawn, updates = await tab.js(both, "[data-figure='effects'] ~ dd .spark .line")
            assert drawn >= updates + 2, "more than this page has had by itself"
            row = await tab.js(FIELDS, name)
            assert float(row["rate"]) > 0
            await tab.click(f"[data-effect='{name}'] button")
            peak = await tab.until("return document.querySelector('.detail .axis span:nth-child(2)').textContent")
            [highest] = await tab.formatted("rate", max(past["effects"][name]))
            assert peak == f"peak {highest}"
            assert "ten minutes ago" in await tab.text(".detail .axis")


async def test_deltas_go_on_from_the_past_and_hold_none_of_it(client: httpx.AsyncClient) -> None:
    name = named()
    async with Runtime(dashboard=HERE) as rt:
        async with looking(client, rt) as look:
            await look.next()
            whole = look.size
            before = len(look.state["past"]["headlines"]["running"])
            await an_effect(name)()
            while look.state["effects"].get(name, {}).get("started") != 1:
                await look.next()
                assert look.size < max(whole, 2000)
        assert len(look.state["past"]["headlines"]["running"]) == before, "a page adds to it by itself"


async def test_what_never_ended_has_no_time(tab: Tab) -> None:
    name, release = named(), asyncio.Event()
    limit, rate = ConcurrencyLimit(5, name=named("limit")), named("rate")

    @effect(limit, name=name)
    async def held() -> None:
        await release.wait()

    @effect(RateLimit(100, per=1), name=rate)
    async def starts() -> None:
        pass

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        handle = rt.submit(held())
        await starts()
        row = await eventually(lambda: tab.js(FIELDS, name), lambda row: row.get("started") == "1")
        assert (row["p50"], row["p99"]) == ("–", "–")
        assert math.isnan(rt.statistics().effects[name].p50)
        assert math.isnan(rt.statistics().effects[name].p99)
        for kind, policy in (("limit", limit._name), ("rate", rate)):
            cells = await eventually(lambda kind=kind, policy=policy: tab.js(CELLS, kind, policy))  # type: ignore[misc]
            assert cells[-2:] == ["–", "–"], "none has waited"
        release.set()
        await handle
        row = await eventually(lambda: tab.js(FIELDS, name), lambda row: row["succeeded"] == "1")
        assert row["p50"] != "–"
        shown = await tab.formatted("duration", rt.statistics().effects[name].p50)
        await tab.click(f"[data-effect='{name}'] button")
        times = await tab.until("return document.querySelector('.detail .times').textContent")
        assert times.startswith(f"Since the program began: p50 {shown[0]} ")


async def test_all_are_closed_only_if_all_are(tab: Tab) -> None:
    always, opens = CircuitBreaker(name=named("always")), CircuitBreaker(name=named("opens"), cooldown=60)
    half = CircuitBreaker(name=named("half"), cooldown=0.01)
    note = "return document.querySelector('[data-breaker]').closest('.panel').querySelector('.note').textContent"

    async def badge(breaker: CircuitBreaker) -> str:
        return str((await tab.js(CELLS, "breaker", breaker._name) or ["", ""])[1])

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await eventually(lambda: badge(always), lambda found: found == "closed")
        for breaker, state in ((half, "half open"), (opens, "open")):
            open_circuit(breaker)
            await eventually(lambda breaker=breaker: badge(breaker), lambda found, state=state: found == state)  # type: ignore[misc]
            assert re.search(rf"\b[1-9]\d* {state}\b", await tab.js(note))
            assert "all closed" not in await tab.js(note)
            breaker.reset()
            await eventually(lambda breaker=breaker: badge(breaker), lambda found: found == "closed")  # type: ignore[misc]
