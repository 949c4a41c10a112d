"""The live page in a real browser: it shows what the events say, takes keys and clicks, and stands what is hostile."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Key,
    Priority,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    blocking,
    constant,
    effect,
    gather,
    priority,
)
from mountain_runtime.errors import CircuitOpen, TimedOut
from mountain_runtime.telemetry import _failures
from tests.lifecycle.support import LONG, until
from tests.telemetry import browser
from tests.telemetry.browser import Tab
from tests.telemetry.test_dashboard import HERE, Boom, Look, busy, client, looking, port, url
from tests.telemetry.test_dashboard import named as unique

__all__ = ["client"]  # a fixture

pytestmark = pytest.mark.processes

COUNTERS = ("started", "succeeded", "failed", "timed_out", "cancelled", "rejected", "retried", "degraded")
SECTIONS = ("overview", "effects", "now", "policies", "services", "failures")
LOST = "/events - Failed to load resource"

#: The texts of a row of the effects table, by field.
FIELDS = """
const row = [...document.querySelectorAll('[data-effect]')].find((row) => row.dataset.effect === args[0]);
const cells = row ? [...row.querySelectorAll('[data-field]')] : [];
return Object.fromEntries(cells.map((cell) => [cell.dataset.field, cell.textContent]));
"""
#: The texts of the cells of the row whose attribute `data-…` has a value.
CELLS = """
const rows = [...document.querySelectorAll(`[data-${args[0]}]`)];
const row = rows.find((row) => row.getAttribute(`data-${args[0]}`) === args[1]);
return row ? [...row.cells].map((cell) => cell.textContent) : [];
"""
#: The rows of what runs under a name.
RUNNING = """
const rows = [...document.querySelectorAll('[data-run]')];
return rows.filter((row) => row.querySelector('.name').textContent === args[0]).map((row) => ({
  state: row.querySelector('.state').textContent,
  on: row.querySelector('.on').textContent,
  age: row.querySelector('.age').textContent,
  left: row.querySelector('.left .figure').textContent,
  chip: row.querySelector('.chip:not([hidden])')?.textContent ?? '',
  depth: Number(row.style.getPropertyValue('--depth')),
  place: rows.indexOf(row),
}));
"""
#: The effects that are listed, in their order, of those whose name has a mark.
ORDER = """
const names = [...document.querySelectorAll('[data-effect]')].map((row) => row.dataset.effect);
return names.filter((name) => name.includes(args[0]));
"""
#: Texts in their colours, each with the first background behind it that is not transparent.
COLOURS = """
return ['#program', '#pid', '.note', '.figures dt', '.figures .value', 'thead .sort', 'tbody td.zero',
        'td.bad:not(.zero)', '.empty', '#filter', '.label', '.failures .message', '.failures .type'].map((css) => {
  const node = document.querySelector(css);
  let behind = node;
  while (getComputedStyle(behind).backgroundColor.endsWith(', 0)')) behind = behind.parentElement;
  return [css, getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
});
"""
#: What reaches beyond the window and is in no box that scrolls by itself.
BEYOND = """
const root = document.documentElement;
const beyond = [...document.body.querySelectorAll('*')].filter((node) =>
  !node.closest('.scroll, .unseen, nav, svg, pre') && node.getBoundingClientRect().right > root.clientWidth + 1);
return [root.scrollWidth - root.clientWidth, beyond.map((node) => node.outerHTML.slice(0, 200))];
"""


def named(what: str = "work") -> str:
    """A name of its own that sorts first: the page lists some hundreds, and other tests may have left as many."""
    return f"! {unique(what)}"


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    found = browser.start()
    yield found
    found.quit()


@pytest.fixture(autouse=True)
async def tab(driver: Chrome) -> AsyncIterator[Tab]:
    """A fresh page. At the end nothing unexpected was said in it, and nobody else was asked for anything."""
    old = driver.current_window_handle
    driver.switch_to.new_window("tab")
    new = driver.current_window_handle
    driver.switch_to.window(old)
    driver.close()
    driver.switch_to.window(new)
    browser.resize(driver, 1280, 900)
    browser.said(driver), browser.requested(driver)
    made = Tab(driver)
    yield made
    assert [line for line in browser.said(driver) if not any(part in line for part in made.expected)] == []
    asked = [httpx.URL(each) for each in browser.requested(driver)]
    assert {each.host for each in asked if each.scheme not in {"data", "about"}} <= {"127.0.0.1"}


@asynccontextmanager
async def at(tab: Tab, runtime: Runtime) -> AsyncIterator[None]:
    """The page of a runtime is open, and is left before its server goes."""
    await tab.open(url(runtime))
    await tab.until("return document.documentElement.dataset.seq > 0")
    try:
        yield
    finally:
        await tab.open("about:blank")


@asynccontextmanager
async def followed(client: httpx.AsyncClient, runtime: Runtime) -> AsyncIterator[Look]:
    """The state as another reader beside the page has it, as new as the page's own."""

    async def follow() -> None:
        while True:
            await look.next()

    async with looking(client, runtime) as look:
        await look.next()
        following = asyncio.create_task(follow())
        try:
            yield look
        finally:
            following.cancel()
            await asyncio.wait([following])


async def eventually(look: Callable[[], Awaitable[Any]], true: Callable[[Any], Any] = bool, within: float = 10) -> Any:
    """What a look finds, once that is true."""
    end = time.monotonic() + within
    while not true(found := await look()):
        assert time.monotonic() < end, f"it did not come to that; the last look found {found!r}"
        await asyncio.sleep(browser.LOOK)
    return found


async def same(shown: Callable[[], Awaitable[Any]], expected: Callable[[], Awaitable[Any]]) -> None:
    """What is shown is what is expected, at some moment: both go on changing."""

    async def both() -> Any:
        return await shown(), await expected()

    await eventually(both, lambda pair: pair[0] == pair[1])


async def attempt(call: Awaitable[Any]) -> None:
    """A call that may fail in the ways that tests want it to."""
    try:
        await call
    except (Boom, CircuitOpen, TimedOut):
        pass


@asynccontextmanager
async def entered(rt: Runtime, leave: asyncio.Event) -> AsyncIterator[None]:
    """Its page is there, while it starts its services; at the end it is left, and has stopped."""

    async def program() -> None:
        async with rt:
            await leave.wait()

    running = asyncio.create_task(program())
    await until(lambda: rt._page is not None)
    try:
        yield
    finally:
        leave.set()
        await running


def an_effect(name: str, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
    """An effect of that name that ends at once."""

    @effect(name=name)
    async def work() -> None:
        if error is not None:
            raise error

    return work


# -- numbers -----------------------------------------------------------------------------------------------------


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
                quantiles = await tab.formatted("duration", figures.get("p50"), figures.get("p99"))
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
                "duration", *(e[wait] for e in (places, turns) for wait in ("wait_p50", "wait_p99"))
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


async def test_the_totals_and_the_lag_of_the_loop_are_what_the_state_says(tab: Tab, client: httpx.AsyncClient) -> None:
    limit, release = ConcurrencyLimit(2), asyncio.Event()
    free = threading.Event()

    @effect(limit, name=named())
    async def held() -> None:
        await release.wait()

    @blocking(Timeout(0.02), name=named())
    def abandoned() -> None:
        free.wait(LONG)

    @blocking(name=named())
    def blocks() -> None:
        free.wait(LONG)

    figure = """
    const parts = document.querySelector(`[data-figure='${args[0]}']`).parentElement.querySelectorAll('.value, .under');
    return [...parts].map((part) => part.textContent);
    """

    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        works = [rt.submit(held()) for _ in range(6)] + [rt.submit(blocks())]
        await attempt(abandoned())
        time.sleep(0.7)  # nobody is served meanwhile: that is the lag

        async def shown() -> Any:
            lines = [await tab.js(figure, name) for name in ("running", "waiting", "threads", "lag", "effects")]
            return [lines[0][0], lines[1][0], lines[2], lines[3], lines[4][1]]

        async def expected() -> Any:
            totals, loop = look.state["totals"], look.state["loop"]
            p99, most = await tab.formatted("duration", loop["lag_p99"], loop["lag_max"])
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
                [p99, f"max {most} · drain p99 {loop['drain_p99']:.0f}"],
                f"{all_of_them} started in all",
            ]

        async def told() -> Any:
            return {**look.state["totals"], **look.state["loop"]}

        await eventually(told, lambda found: found["waiting"] >= 4 and found["threads_abandoned"] >= 1)
        await eventually(told, lambda found: found["lag_max"] >= 0.3)
        await same(shown, expected)
        assert look.state["totals"]["running"] >= 3
        tone = "return document.querySelector(`[data-figure='lag']`).parentElement.dataset.tone"

        async def expected_tone() -> Any:
            # Not always bad: what the process did before the first look, without a lag, counts for some time.
            p99 = look.state["loop"]["lag_p99"]
            return "bad" if p99 > 0.1 else "warn" if p99 > 0.02 else None

        await same(lambda: tab.js(tone), expected_tone)
        free.set()
        release.set()
        for work in works:
            await work


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
        line = "return document.querySelector(`[data-effect='${args[0]}'] .spark .line`).getAttribute('d')"
        assert len((await tab.until(line, name)).split()) > 2, "its chart has more than one point"
        going.cancel()


# -- what runs ---------------------------------------------------------------------------------------------------


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
        more = await tab.until("return document.querySelector('#now-panel .more').textContent")
        assert int(re.fullmatch(r"and (\d+) more", more)[1]) >= 121  # type: ignore[index]
        release.set()
        for work in works:
            await work
        await eventually(lambda: tab.js(RUNNING, many), lambda rows: rows == [])


# -- failures ----------------------------------------------------------------------------------------------------


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


# -- shutdown ----------------------------------------------------------------------------------------------------


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


# -- how it is used ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def three(tab: Tab) -> AsyncIterator[tuple[str, list[str]]]:
    """A page with three effects, called 3, 1 and 2 times, and the mark that is in their names."""
    mark = uuid4().hex[:8]
    names = [f"! {what} {mark}" for what in ("apples", "bread", "coffee")]
    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        for name, n in zip(names, (3, 1, 2), strict=True):
            for _ in range(n):
                await an_effect(name)()
        await eventually(lambda: tab.js(ORDER, mark), lambda found: len(found) == 3)
        yield mark, names


async def test_the_filter_leaves_what_has_its_letters(tab: Tab) -> None:
    async with three(tab) as (mark, names):
        await tab.click("#filter")
        await tab.press(f"BREAD {mark}")
        await eventually(lambda: tab.js(ORDER, ""), lambda found: found == [names[1]])
        assert (await tab.text("#effects-note")).startswith("1 of ")
        await tab.press(" and butter")
        await tab.until("return document.querySelector('#effects-panel .scroll').hidden")
        assert f"bread {mark} and butter" in (await tab.text("#effects-panel .empty")).lower()
        await tab.press(Keys.ESCAPE)
        await eventually(lambda: tab.js(ORDER, mark), lambda found: found == names)
        assert await tab.js("return document.querySelector('#filter').value") == ""


async def test_the_table_is_sorted_by_a_click_and_by_the_keyboard(tab: Tab) -> None:
    async with three(tab) as (mark, [apples, bread, coffee]):
        sorted_by = "return document.querySelector('.effects thead .col-' + args[0]).ariaSort"
        await tab.click("#filter")
        await tab.press(mark)
        assert await tab.js(sorted_by, "name") == "ascending"
        assert await tab.js(ORDER, mark) == [apples, bread, coffee]
        await tab.click(".col-started .sort")
        assert await tab.js(ORDER, mark) == [apples, coffee, bread], "numbers from the largest"
        assert await tab.js(sorted_by, "started") == "descending"
        assert await tab.js(sorted_by, "name") == "none"
        await tab.press(Keys.ENTER)
        assert await tab.js(ORDER, mark) == [bread, coffee, apples]
        assert await tab.js(sorted_by, "started") == "ascending"
        await tab.press(Keys.TAB, Keys.SPACE)
        assert await tab.js(sorted_by, "succeeded") == "descending"
        assert await tab.js(ORDER, mark) == [apples, coffee, bread]
        await tab.press(Keys.SPACE)
        assert await tab.js(ORDER, mark) == [bread, coffee, apples]
        await tab.click(".effects thead .col-name .sort")
        assert await tab.js(ORDER, mark) == [apples, bread, coffee], "names from A"
        await tab.press(Keys.SPACE)
        assert await tab.js(ORDER, mark) == [coffee, bread, apples]


async def test_a_pause_holds_the_display_and_its_end_shows_what_was_missed(tab: Tab) -> None:
    async with three(tab) as (_, names):
        await tab.press("p")
        await tab.until("return document.querySelector('#link').innerText.startsWith('paused')")
        assert await tab.text("#pause .label") == "Resume"
        uptime = await tab.text("#uptime")
        for _ in range(4):
            await an_effect(names[1])()
        await tab.until("return /[1-9] updates? held/.test(document.querySelector('#link').innerText)")
        assert (await tab.js(FIELDS, names[1]))["started"] == "1"
        assert await tab.text("#uptime") == uptime
        await tab.click("#pause")
        await eventually(lambda: tab.js(FIELDS, names[1]), lambda row: row["started"] == "5")
        assert (await tab.text("#link")).startswith("connected")
        assert await tab.text("#pause .label") == "Pause"
        await tab.until("return document.querySelector('#uptime').textContent !== args[0]", uptime)


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG has it."""

    def light(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


async def test_both_themes_can_be_read_and_the_choice_is_kept(tab: Tab) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    theme = "return document.documentElement.dataset.theme"
    async with three(tab) as (_, names):
        await attempt(an_effect(names[0], Boom("it fails"))())
        await tab.until(
            "return document.querySelector('td.bad:not(.zero)') && document.querySelector('.failures .message')"
        )
        await tab.prefer(color_scheme="light")
        assert await tab.js(theme) == "auto"
        light = await tab.js(background)
        await tab.prefer(color_scheme="dark")
        dark = await tab.js(background)
        assert contrast(light, dark) > 10

        await tab.press("t")
        assert await tab.js(theme) == "light"
        assert await tab.js(background) == light
        found = {"light": await tab.js(COLOURS)}
        await tab.click("#theme")
        assert await tab.js(theme) == "dark"
        await tab.prefer(color_scheme="light")
        assert await tab.js(background) == dark
        found["dark"] = await tab.js(COLOURS)
        for name, colours in found.items():
            faint = [(name, *each) for each in colours if contrast(*each[1:]) < 4.5]
            assert faint == []

        await asyncio.to_thread(tab.driver.refresh)
        await tab.until("return document.documentElement.dataset.seq > 0")
        assert await tab.js(theme) == "dark"
        await tab.press("t")
        assert await tab.js(theme) == "auto"
        assert await tab.js(background) == light


async def test_the_keys(tab: Tab) -> None:
    focus = "return document.activeElement.id"
    async with three(tab) as (mark, names):
        for number, section in enumerate(SECTIONS, 1):
            await tab.press(str(number))
            assert await tab.js(focus) == f"{section}-title"
            box = await tab.until(
                """
                const box = document.getElementById(args[0]).getBoundingClientRect();
                const end = scrollY + innerHeight >= document.documentElement.scrollHeight - 1;
                const header = document.querySelector('header').getBoundingClientRect().bottom;
                return (box.top >= header - 1 && box.top < header + 60) || (end && box.top < innerHeight);
                """,
                section,
            )
            assert box
        await tab.press("/")
        assert await tab.js(focus) == "filter"
        await tab.press("1pt?")
        assert await tab.js("return document.querySelector('#filter').value") == "1pt?", "letters, in a field"
        assert await tab.js("return document.documentElement.dataset.theme") == "auto"
        await tab.press(Keys.ESCAPE)
        assert await tab.js(focus) == ""
        assert await tab.js(ORDER, mark) == names

        await tab.press("?")
        assert await tab.js("return document.querySelector('#help').open")
        await tab.press("p")
        assert await tab.js("return document.documentElement.dataset.paused ?? 'no'") == "no", "nothing behind the list"
        await tab.press(Keys.ESCAPE)
        assert not await tab.js("return document.querySelector('#help').open")
        await tab.press("??")
        assert not await tab.js("return document.querySelector('#help').open")


@pytest.mark.parametrize("width", [390, 800, 1280])
async def test_nothing_is_wider_than_the_window(tab: Tab, width: int) -> None:
    limit, breaker = ConcurrencyLimit(1, name=named("limit" * 30)), CircuitBreaker(name=named("breaker " * 20))
    release, long = asyncio.Event(), named("long" * 60)

    @effect(Timeout(90), limit, name=long)
    async def held() -> None:
        await release.wait()

    @effect(breaker, name=named("fails " * 40))
    async def fails() -> None:
        raise Boom("words " * 100 + "w" * 500)

    async def program() -> None:
        await gather(held(), held())

    async with Runtime(dashboard=HERE) as rt:
        await tab.resize(width, 844)
        async with at(tab, rt):
            handle = rt.submit(effect(program)())
            await attempt(fails())
            await tab.until(
                "return document.querySelectorAll('[data-run]').length > 2 && document.querySelector('.failures li')"
            )
            assert await tab.js(BEYOND) == [0, []]
            await tab.click(".failures summary")
            await tab.click("#effects-panel tbody tr:first-child .disclose")
            await tab.until("return document.querySelector('.detail') && document.querySelector('.failures pre')")
            assert await tab.js(BEYOND) == [0, []]
            await tab.press("?")
            assert await tab.js(BEYOND) == [0, []]
            await tab.press(Keys.ESCAPE)
            release.set()
            await handle


# -- what is hostile ---------------------------------------------------------------------------------------------

HOSTILE = [
    "two\nlines",
    "a \"quote\", 'another' and a \\",
    "<img src=x onerror=\"window.ran='img'\">",
    "<script>window.ran='script'</script>",
    "</title></table><svg onload=\"window.ran='svg'\">",
    "${window.ran='template'}",
    "__proto__",
    "x" * 10_000,
    "\u202etfel-ot-thgir",
]


async def test_hostile_names_are_shown_as_text_and_run_nothing(tab: Tab, client: httpx.AsyncClient) -> None:
    mark = f"! {uuid4().hex[:8]}"
    release = asyncio.Event()
    limits = [ConcurrencyLimit(1, name=f"{mark} {text}") for text in HOSTILE]
    breakers = [CircuitBreaker(name=f"{mark} {text}", failures=1) for text in HOSTILE]

    @asynccontextmanager
    async def opens() -> AsyncIterator[str]:
        yield ""

    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        raise Boom(HOSTILE[2])
        yield ""

    rt = Runtime(dashboard=HERE)
    for text in HOSTILE:
        rt.provide(Key[str](f"{mark} {text}"), broken, fallback=opens)
    async with rt, at(tab, rt), followed(client, rt) as look:
        for limit, breaker, text in zip(limits, breakers, HOSTILE, strict=True):

            @effect(limit, name=f"{mark} {text}")
            async def held() -> None:
                await release.wait()

            @effect(breaker, name=f"{mark} fails {text}")
            async def fails(message: str) -> None:
                raise Boom(message)

            rt.submit(held())
            await attempt(fails(text))

        count = f"return document.querySelectorAll(args[0]).length >= {len(HOSTILE)}"
        for css in ("[data-run]", "[data-limit]", "[data-breaker]", "[data-service]", ".failures li"):
            await tab.until(count, css)
        texts = "return [...document.querySelectorAll(args[0])].map((node) => node.textContent)"
        for css, kind in (
            ("[data-effect] .name", "effects"),
            ("[data-limit] .name", "limits"),
            ("[data-breaker] .name", "breakers"),
            ("[data-service] .name", "services"),
        ):
            shown = {name for name in await tab.js(texts, css) if name.startswith(mark)}
            told = {
                name if len(name) <= 300 else name[:299] + "…" for name in look.state[kind] if name.startswith(mark)
            }
            assert shown == told
            assert len(told) == (2 if kind == "effects" else 1) * len(HOSTILE)
            for text in HOSTILE[:7]:
                assert f"{mark} {text}" in shown, kind
        assert set(HOSTILE[:7]) <= set(await tab.js(texts, ".failures .message"))
        assert repr(Boom(HOSTILE[2])) in (await tab.js(texts, "[data-service] .reason"))[0]
        for n in range(1, len(HOSTILE) + 1):
            await tab.click(f".failures li:nth-child({n}) summary")
        await tab.until(count, ".failures pre")
        await tab.click("#filter")
        await tab.press(HOSTILE[2])
        await tab.until(
            "return !document.querySelector('#effects-panel .empty').hidden || document.querySelector('[data-effect]')"
        )
        found = await tab.js(
            """
            return [window.ran ?? null, document.images.length, document.scripts.length, document.title.includes('ran'),
                    document.querySelectorAll('[onerror], [onload], iframe').length, ({}).state ?? null];
            """
        )
        assert found == [None, 0, 1, False, 0, None]
        assert await tab.js(BEYOND) == [0, []]
        release.set()


async def test_the_check_of_the_console_sees_what_is_said(tab: Tab) -> None:
    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await tab.js("console.warn('a warning of ours'); setTimeout(() => { throw new Error('an error of ours') })")

        async def said() -> list[str]:
            heard.extend(await asyncio.to_thread(browser.said, tab.driver))
            return heard

        heard: list[str] = []
        await eventually(said, lambda found: len(found) >= 2)
        assert "a warning of ours" in heard[0]
        assert "an error of ours" in heard[1]
        asked = await asyncio.to_thread(browser.requested, tab.driver)
        assert {httpx.URL(each).path for each in asked} >= {"/", "/app.js", "/style.css", "/events"}


# -- connections -------------------------------------------------------------------------------------------------


async def test_a_reload_shows_the_same_again(tab: Tab) -> None:
    async with three(tab) as (mark, names):
        for _ in range(2):
            await asyncio.to_thread(tab.driver.refresh)
            assert await eventually(lambda: tab.js(ORDER, mark), lambda found: len(found) == 3) == names
            assert (await tab.js(FIELDS, names[0]))["started"] == "3"
        assert (await tab.text("#link")).startswith("connected")


async def test_a_lost_connection_is_shown_and_recovered_from(tab: Tab) -> None:
    tab.expected.append(LOST)
    first, second = named("first"), named("second")
    link = "return document.querySelector('#link').innerText.replace(/\\s+/g, ' ')"
    async with Runtime(dashboard=HERE) as rt:
        where = f"127.0.0.1:{port(rt)}"
        await an_effect(first)()
        await tab.open(url(rt))
        await eventually(lambda: tab.js(FIELDS, first))
        assert await tab.js(link) == "connected"

    await eventually(
        lambda: tab.js(link), lambda found: re.fullmatch(r"reconnecting last heard (just now|\d+ s ago)", found)
    )
    assert await tab.js("return document.documentElement.dataset.stale") == "yes"
    assert (await tab.js(FIELDS, first))["started"] == "1", "what was known is still there"
    uptime = await tab.text("#uptime")
    await eventually(lambda: tab.js(link), lambda found: "2 s ago" in found)
    assert await tab.text("#uptime") == uptime, "the time of a program that is not heard of stands still"

    async with Runtime(dashboard=where) as rt:
        await an_effect(second)()
        await eventually(lambda: tab.js(link), lambda found: found == "connected")
        await eventually(lambda: tab.js(FIELDS, second))
        assert await tab.js("return document.documentElement.dataset.stale ?? 'no'") == "no"
        await tab.until("return document.querySelector('#uptime').textContent !== args[0]", uptime)
        await tab.open("about:blank")


async def test_a_page_that_was_one_too_many_is_let_in_later(tab: Tab, client: httpx.AsyncClient) -> None:
    tab.expected.append(LOST)
    async with Runtime(dashboard=HERE) as rt:
        async with AsyncExitStack() as others:
            looks = [await others.enter_async_context(looking(client, rt)) for _ in range(16)]
            for look in looks:
                await look.next()
            await tab.open(url(rt))
            await tab.until("return performance.getEntriesByName(`${location.origin}/events`).length > 0")
            assert (await tab.text("#link-state")).strip() == "connecting"
        await tab.until("return document.querySelector('#link-state').textContent.trim() === 'connected'")
        await tab.open("about:blank")
