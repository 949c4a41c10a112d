"""Routers and commands on the page: a row each, which open to callers and to errors."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Runtime, rpc
from mountain_runtime.errors import PeerError
from tests.rpc.support import Log, calling, served, small
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import CELLS, at, eventually, named

pytestmark = pytest.mark.processes

#: The rows that the row of that kind and name has opened to: the texts of their cells.
OPENED = """
const all = [...document.querySelectorAll(`[data-${args[0]}]`)];
const row = all.find((row) => row.getAttribute(`data-${args[0]}`) === args[1]);
const detail = row?.nextElementSibling;
const rows = detail?.matches('.detail') ? [...detail.querySelectorAll('.key-rows tbody tr')] : [];
return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
"""


async def opens(tab: Tab, kind: str, name: str) -> None:
    """Clicks on the row of that name."""
    quoted = name.replace("\n", "\\a ")
    await tab.click(f'[data-{kind}="{quoted}"] button')


async def test_a_router_opens_to_its_callers_and_its_commands_to_their_errors(tab: Tab, tmp_path: Path) -> None:
    log, name, path = Log(), named("shop"), tmp_path / "s"
    router = small(log, name=name)

    def row(command: str) -> Any:
        return tab.js(CELLS, "command", f"{name}\n{command}")

    async with (
        Runtime(dashboard=HERE) as rt,
        served(router, f"unix:{path}"),
        calling(path) as caller,
        calling(path) as other,
        at(tab, rt),
    ):
        for number in range(3):
            caller.request(number, "add", [number])
            assert "result" in await caller.receive()
        caller.request(3, "add", ["x"])
        caller.request(4, "wait", ["w"])
        await caller.receive()
        other.request(1, "nothing")
        await other.receive()
        assert await router.call("add", [1]) == 3

        # Router, rate, at work, requests, errors.
        found = await eventually(lambda: row("add"), lambda cells: cells[4:6] == ["5", "1"])
        assert found[:2] == ["add", name]
        assert all(text[0].isdigit() and text[-1] == "s" for text in found[6:])
        await eventually(lambda: row("wait"), lambda cells: cells[3:6] == ["1", "1", "0"])
        assert (await row("other"))[3:6] == ["0", "1", "1"]
        # Callers, rate, at work, requests, errors.
        cells = await tab.js(CELLS, "router", name)
        assert (cells[1], *cells[3:]) == ("2", "1", "7", "2")

        await opens(tab, "command", f"{name}\nadd")
        assert await tab.js(OPENED, "command", f"{name}\nadd") == [["wrong params", "1", "1"]]
        await opens(tab, "router", name)
        rows = await eventually(lambda: tab.js(OPENED, "router", name), lambda rows: len(rows) == 3)
        # First who has most at work, then who has asked most: address, requests, at work, errors.
        assert [cells[2:] for cells in rows] == [["5", "1", "1"], ["1", "0", "1"], ["1", "0", "0"]]
        assert [cells[1].partition(":")[0] for cells in rows] == ["unix", "unix", "this process"]

        log.release.set()
        await caller.receive()
        await eventually(lambda: row("wait"), lambda cells: cells[3:6] == ["0", "1", "0"])
        other.close()
        await eventually(lambda: tab.js(OPENED, "router", name), lambda rows: len(rows) == 2)


async def test_a_router_that_is_dropped_leaves_the_page(tab: Tab) -> None:
    name = named("gone")
    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        routers = [rpc.Router(name=name), small(Log(), name=name)]
        with pytest.raises(PeerError):
            await routers[1].call("nothing")
        await eventually(lambda: tab.js(CELLS, "router", name), lambda cells: cells[4:] == ["1", "1"])
        routers.pop()
        gc.collect()
        await asyncio.sleep(0.6)  # real: two states of the page
        assert await tab.js(CELLS, "router", name), "there is another one of the name"
        routers.clear()
        gc.collect()
        await eventually(lambda: tab.js(CELLS, "router", name), lambda cells: cells == [])
        assert await tab.js(CELLS, "command", f"{name}\nadd") == []
