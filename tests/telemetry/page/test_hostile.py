"""The page stands what is hostile, and a connection that is lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Key,
    Runtime,
    effect,
)
from tests.telemetry.looks import HERE, Boom, looking, port, url
from tests.telemetry.page import browser
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import (
    BEYOND,
    FIELDS,
    LOST,
    ORDER,
    an_effect,
    at,
    attempt,
    eventually,
    followed,
    named,
    three,
)

pytestmark = pytest.mark.processes


# -- what is hostile -----------------------------------------------------------------------------------------------

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


# -- connections ---------------------------------------------------------------------------------------------------


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
        await tab.open(browser.EMPTY)


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
        await tab.open(browser.EMPTY)
