"""The page takes keys and clicks, in any theme and at any width."""

import asyncio
import re

import pytest
from selenium.webdriver.common.keys import Keys

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Runtime,
    Timeout,
    effect,
    gather,
)
from tests.telemetry.looks import HERE, Boom
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import (
    BEYOND,
    COLOURS,
    FIELDS,
    ORDER,
    SECTIONS,
    an_effect,
    at,
    attempt,
    eventually,
    named,
    three,
)

pytestmark = pytest.mark.processes


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
