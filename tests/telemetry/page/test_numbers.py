"""The numbers on the page are those of the events."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Key,
    Priority,
    RateLimit,
    Runtime,
    Timeout,
    blocking,
    effect,
    priority,
)
from tests.lifecycle.support import LONG
from tests.telemetry.looks import A_STATE_A_SECOND, HERE, Boom, busy
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import (
    CELLS,
    COUNTERS,
    FIELDS,
    an_effect,
    at,
    attempt,
    entered,
    eventually,
    followed,
    named,
    same,
)

pytestmark = pytest.mark.processes


@A_STATE_A_SECOND
async def test_the_effects_table_is_what_the_state_says(tab: Tab, client: httpx.AsyncClient) -> None:
    mixed, slow, standby, refused = named("mixed"), named("slow"), named("standby"), named("refused")

    @effect(Timeout(0.1), name=slow)
    async def late(seconds: float) -> None:
        await asyncio.sleep(seconds)

    @effect(Fallback(lambda _: "yesterday's", on=Boom), name=standby)
    async def prices() -> str:
        raise Boom

    @effect(CircuitBreaker(failures=1, cooldown=60), name=refused)
    async def pays() -> None:
        raise Boom

    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        await busy(mixed)
        for seconds in (0.03, 0.02, 0.02, 60):
            await attempt(late(seconds))
        cancelled = rt.submit(late(60))
        await asyncio.sleep(0)
        cancelled.cancel()
        await prices()
        for _ in range(2):
            await attempt(pays())

        async def shown() -> Any:
            return [await tab.js(FIELDS, name) for name in (mixed, slow, standby, refused)]

        async def expected() -> Any:
            rows = []
            for name in (mixed, slow, standby, refused):
                figures = look.state["effects"].get(name, {})
                counts = await tab.formatted("count", *(figures.get(field) for field in COUNTERS))
                times = (figures.get(each, figures.get(f"all_{each}")) for each in ("p50", "p99"))
                quantiles = await tab.formatted("duration", *times)
                rows.append(dict(zip((*COUNTERS, "p50", "p99"), counts + quantiles, strict=True)))
            return rows

        async def without_rates() -> Any:
            return [{field: text for field, text in row.items() if field != "rate"} for row in await shown()]

        await eventually(lambda: tab.js(FIELDS, slow), lambda row: row.get("cancelled") == "1")
        await same(without_rates, expected)
        rows = [[row[field] for field in COUNTERS] for row in await shown()]
        assert rows[0] == ["8", "5", "3", "0", "0", "0", "1", "0"]
        assert rows[1] == ["5", "3", "0", "1", "1", "0", "0", "0"]
        assert rows[2] == ["1", "1", "0", "0", "0", "0", "0", "1"]
        assert rows[3] == ["2", "0", "1", "0", "0", "1", "0", "0"]
        assert re.fullmatch(r"\d\d ms", (await tab.js(FIELDS, slow))["p50"])


async def test_an_effect_opens_to_its_errors_by_type(tab: Tab) -> None:
    name = named()
    errors = [Boom("a"), Boom("b"), LookupError("c")]

    @effect(name=name)
    async def fails() -> None:
        raise errors.pop()

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        for _ in range(3):
            with pytest.raises((Boom, LookupError)):
                await fails()
        await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", name)
        await tab.click(f"[data-effect='{name}'] button")
        texts = (
            "return [...document.querySelectorAll('.errors tbody :is(th, td:last-child)')].map((c) => c.textContent)"
        )
        kinds = await eventually(lambda: tab.js(texts))
        found = {kind.rpartition(".")[2]: n for kind, n in zip(kinds[::2], kinds[1::2], strict=True)}
        assert found == {"Boom": "2", "LookupError": "1"}
        assert await tab.text(".detail .unfold .note") == "100% failed"
        await tab.click(f"[data-effect='{name}'] button")
        await tab.until("return !document.querySelector('.detail')")


async def test_an_effect_opens_to_the_rungs_that_answered(tab: Tab) -> None:
    name, small = named(), named("small <b>")

    @effect(name=small)
    async def other(fail: bool) -> str:
        if fail:
            raise LookupError
        return "small"

    @effect(Fallback(lambda _: "last", on=LookupError), Fallback(other, on=Boom), name=name)
    async def ask(fail: bool) -> str:
        raise Boom

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        for fail in (False, True, False):
            await ask(fail)
        await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", name)
        await tab.click(f"[data-effect='{name}'] button")
        texts = "return document.querySelector('.detail .fallbacks').textContent"
        await eventually(lambda: tab.js(texts), lambda text: text == f"Answered by {small}: 2 · <lambda>: 1")
        await tab.click(f"[data-effect='{name}'] button")
        await tab.until("return document.querySelector(`[data-effect='${args[0]}']`)", small)
        await tab.click(f"[data-effect='{small}'] button")
        hidden = "return document.querySelector('.detail .fallbacks').hidden"
        assert await eventually(lambda: tab.js(hidden)) is True


@A_STATE_A_SECOND
async def test_the_policies_are_what_the_state_says(tab: Tab, client: httpx.AsyncClient) -> None:
    names = {kind: named(kind) for kind in ("limit", "rate", "breaker", "cache")}
    limit = ConcurrencyLimit(2, name=names["limit"])
    breaker = CircuitBreaker(name=names["breaker"], failures=2, cooldown=60, key=lambda host: host)
    release = asyncio.Event()

    @effect(limit, name=named())
    async def held() -> None:
        await release.wait()

    @effect(breaker, name=named())
    async def pays(host: str) -> None:
        if host == "down":
            raise Boom

    @effect(RateLimit(2, per=60), name=names["rate"])
    async def counts() -> None:
        pass

    @effect(Cache(ttl=60, max_size=5), name=names["cache"])
    async def looks_up(n: int) -> int:
        return n

    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        [rt.submit(held()) for _ in range(5)]
        for level, n in ((Priority.HIGH, 1), (Priority.LOW, 2)):
            with priority(level):
                [rt.submit(held()) for _ in range(n)]
        turns = [rt.submit(counts()) for _ in range(5)]
        for host in ("down", "down", "up", "further"):
            await attempt(pays(host))
        for n in (1, 1, 1, 2, 3, 4, 5, 6, 7):
            await looks_up(n)

        async def shown() -> Any:
            return {kind: await tab.js(CELLS, kind, name) for kind, name in names.items()}

        async def expected() -> Any:
            places, turns = look.state["limits"].get(names["limit"]), look.state["rates"].get(names["rate"])
            states, store = look.state["breakers"].get(names["breaker"]), look.state["caches"].get(names["cache"])
            if None in (places, turns, states, store):
                return None
            waits = await tab.formatted(
                "duration", *(e.get(wait) for e in (places, turns) for wait in ("wait_p50", "wait_p99"))
            )
            waiting = " · ".join(str(places["waiting"][each]) for each in ("high", "normal", "low"))
            keys = [f"{states['keys'][key]} {key}" for key in ("open", "closed") if states["keys"][key]]
            ratio = f"{100 * store['hits'] / (store['hits'] + store['misses']):.0f}%"
            return {
                "limit": [names["limit"], f"{places['in_flight']}/{places['capacity']}", waiting, *waits[:2]],
                "rate": [names["rate"], f"{turns['n']:g} a minute", str(turns["waiting"]), *waits[2:]],
                "breaker": [names["breaker"], "open", " · ".join(keys), str(states["opens"])],
                "cache": [
                    names["cache"],
                    ratio,
                    *(str(store[field]) for field in ("stale_hits", "evicted")),
                    f"{store['size']}/{store['max_size']}",
                ],
            }

        await eventually(
            lambda: tab.js(CELLS, "limit", names["limit"]), lambda cells: cells[1:3] == ["2/2", "1 · 3 · 2"]
        )
        await same(shown, expected)
        found = await shown()
        assert found["rate"][1:3] == ["2 a minute", "3"]
        assert re.fullmatch(r"open/1 open · \d closed/1", "/".join(found["breaker"][1:]))
        assert found["cache"][1:] == ["22%", "0", "2", "5/5"]
        release.set()
        await eventually(
            lambda: tab.js(CELLS, "limit", names["limit"]), lambda cells: cells[1:3] == ["0/2", "0 · 0 · 0"]
        )
        for turn in turns:
            turn.cancel()
        await eventually(lambda: tab.js(CELLS, "rate", names["rate"]), lambda cells: cells[2] == "0")


async def test_services_are_shown_with_their_health(tab: Tab) -> None:
    store, mail = Key[str]("store"), Key[str]("mail")
    go, leave = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opens() -> AsyncIterator[str]:
        await go.wait()
        yield "store"

    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        raise Boom("no mail <today>")
        yield ""

    @asynccontextmanager
    async def stands_in() -> AsyncIterator[str]:
        yield "paper"

    rt = Runtime(dashboard=HERE).provide(store, opens).provide(mail, broken, fallback=stands_in)
    async with entered(rt, leave):
        async with at(tab, rt):
            try:
                await eventually(
                    lambda: tab.js(CELLS, "service", "store"), lambda row: row == ["store", "starting", ""]
                )
                await tab.until("return document.querySelector('#health').textContent === 'live, not ready'")
                assert "(not ready)" in await tab.js("return document.title")
            finally:
                go.set()
            await eventually(lambda: tab.js(CELLS, "service", "store"), lambda row: row == ["store", "up", ""])
            _, state, reason = await eventually(
                lambda: tab.js(CELLS, "service", "mail"), lambda row: row[1] == "degraded"
            )
            assert state == "degraded"
            assert "no mail <today>" in reason
            await tab.until("return document.querySelector('#health').textContent === 'ready'")
            assert await tab.text("#services-note") == "1 up · 1 degraded"


@A_STATE_A_SECOND
async def test_the_totals_and_the_lag_of_the_loop_are_what_the_state_says(tab: Tab, client: httpx.AsyncClient) -> None:
    limit, release = ConcurrencyLimit(2), asyncio.Event()
    free = threading.Event()

    @effect(limit, name=named())
    async def held() -> None:
        await release.wait()

    @blocking(Timeout(0.5), name=named())  # by then a thread has begun it
    def abandoned() -> None:
        free.wait(LONG)

    @blocking(name=named())
    def blocks() -> None:
        free.wait(LONG)

    figures = """
    return args.map((name) => {
      const parts = document.querySelector(`[data-figure='${name}']`).parentElement.querySelectorAll('.value, .under');
      return [...parts].map((part) => part.textContent);
    });
    """

    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        works = [rt.submit(held()) for _ in range(6)] + [rt.submit(blocks())]
        await attempt(abandoned())
        time.sleep(0.7)  # the loop serves no call meanwhile: that is the lag

        async def shown() -> Any:
            # All at once: they are of one state.
            lines = await tab.js(figures, "running", "waiting", "threads", "lag", "effects")
            return [lines[0][0], lines[1][0], lines[2], lines[3], lines[4][1]]

        async def expected() -> Any:
            totals, loop = look.state["totals"], look.state["loop"]
            p99, most = await tab.formatted("duration", loop.get("lag_p99"), loop.get("lag_max"))
            started = sum(each["started"] for each in look.state["effects"].values())
            running, waiting, busy, gone, all_of_them = await tab.formatted(
                "compact",
                *(totals[each] for each in ("running", "waiting", "threads_busy", "threads_abandoned")),
                started,
            )
            return [
                running,
                waiting,
                [busy, f"{gone} abandoned"],
                [p99, f"max {most} · drain p99 {loop.get('drain_p99', -1):.0f}"],
                f"{all_of_them} started in all",
            ]

        async def told() -> Any:
            return {**look.state["totals"], **look.state["loop"]}

        await eventually(told, lambda found: found["waiting"] >= 4 and found["threads_abandoned"] >= 1)
        await eventually(told, lambda found: found.get("lag_max", 0) >= 0.3)
        await same(shown, expected)
        assert look.state["totals"]["running"] >= 3
        tone = "return document.querySelector(`[data-figure='lag']`).parentElement.dataset.tone"

        async def expected_tone() -> Any:
            # Not always bad: what the process did before the first look, without a lag, counts for some time.
            p99 = look.state["loop"].get("lag_p99", 0)
            return "bad" if p99 > 0.1 else "warn" if p99 > 0.02 else None

        await same(lambda: tab.js(tone), expected_tone)
        free.set()
        release.set()
        for work in works:
            await work


@A_STATE_A_SECOND
async def test_rates_are_of_the_last_seconds(tab: Tab) -> None:
    name = named()
    work = an_effect(name)
    rate = "return Number(document.querySelector(\"[data-figure='effects']\").textContent)"

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):

        async def goes_on() -> None:
            while True:
                await work()
                await asyncio.sleep(0.02)

        going = asyncio.create_task(goes_on())
        row = await eventually(lambda: tab.js(FIELDS, name), lambda row: float(row.get("rate", 0)) > 15)
        assert float(row["rate"]) < 55
        assert await tab.js(rate) > 15
        # Charts out of sight are not drawn.
        await tab.js("document.querySelector(`[data-effect='${args[0]}']`).scrollIntoView()", name)
        line = "return document.querySelector(`[data-effect='${args[0]}'] .spark .line`).getAttribute('d')"
        assert len((await tab.until(line, name)).split()) > 2, "its chart has more than one point"
        going.cancel()
