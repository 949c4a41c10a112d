"""Pools of workers on the page: a row each, which opens to its workers."""

# ruff: noqa: F401, F811 - fixtures are imported, and are parameters

import asyncio
from pathlib import Path

import httpx
import pytest

from mountain_runtime import Runtime
from tests.pools import counted_work as work
from tests.telemetry.conftest import client
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.conftest import driver, tab
from tests.telemetry.page.shown import CELLS, at, eventually, followed

pytestmark = pytest.mark.processes

#: The rows of workers below the pool of that name: the texts of their cells.
WORKERS = """
const pool = [...document.querySelectorAll('[data-pool]')].find((row) => row.dataset.pool === args[0]);
const detail = pool.nextElementSibling;
const rows = detail?.matches('.detail') ? [...detail.querySelectorAll('.key-rows tbody tr')] : [];
return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
"""
OPEN = "document.querySelector(`[data-pool='${args[0]}'] .disclose`).click()"


async def test_a_pool_is_a_row_that_opens_to_its_workers(tab: Tab, client: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "go"
    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        pid = await work.tries(str(tmp_path / "one"))
        calls = [asyncio.ensure_future(work.held(str(path))) for _ in range(3)]
        await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: row[1:4] == ["1", "1", "2"])
        await tab.js(OPEN, "counted")
        [worker] = await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows and rows[0][1] == "held", 30)
        assert worker[0] == f"pid {pid}"
        assert worker[2] == "2"
        assert worker[3].endswith(" MB")
        path.touch()
        await asyncio.gather(*calls)
        await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows[0][1] == "nothing")
        row = await tab.js(CELLS, "pool", "counted")
        assert int(row[4]) >= 4
        lost = look.state["pools"]["counted"]["lost"]
        with pytest.raises(Exception, match="lost"):
            await work.killed()
        await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: row[5] == str(lost + 1))
        await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows == [])
