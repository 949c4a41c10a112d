"""Support for the tests in a browser: the contents of the page, and of the events meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from mountain_runtime import (
    Runtime,
    effect,
)
from mountain_runtime.errors import CircuitOpen, TimedOut
from tests.lifecycle.support import until
from tests.telemetry.looks import HERE, Boom, Look, looking, url
from tests.telemetry.looks import named as unique
from tests.telemetry.page import browser
from tests.telemetry.page.browser import Tab

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
#: Elements that reach beyond the window and are in no box that scrolls by itself.
BEYOND = """
const root = document.documentElement;
const beyond = [...document.body.querySelectorAll('*')].filter((node) =>
  !node.closest('.scroll, .unseen, nav, svg, pre') && node.getBoundingClientRect().right > root.clientWidth + 1);
return [root.scrollWidth - root.clientWidth, beyond.map((node) => node.outerHTML.slice(0, 200))];
"""


def named(what: str = "work") -> str:
    """A name of its own that sorts first: the page lists some hundreds, and other tests may have left as many."""
    return f"! {unique(what)}"


@asynccontextmanager
async def at(tab: Tab, runtime: Runtime) -> AsyncIterator[None]:
    """The page of a runtime is open, and is left before its server goes."""
    await tab.open(url(runtime))
    await tab.until("return document.documentElement.dataset.seq > 0")
    try:
        yield
    finally:
        await tab.open(browser.EMPTY)


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
    """The result of a look, once it is true."""
    end = time.monotonic() + within
    while not true(found := await look()):
        assert time.monotonic() < end, f"it did not come to that; the last look found {found!r}"
        await asyncio.sleep(browser.LOOK)
    return found


async def same(shown: Callable[[], Awaitable[Any]], expected: Callable[[], Awaitable[Any]]) -> None:
    """The page shows the expected state, at some moment: both go on changing."""

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
