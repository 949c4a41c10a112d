"""Pools of workers on the page: a row each, which opens to its workers."""

from pathlib import Path

import httpx
import pytest

from mountain_runtime import Runtime
from mountain_runtime.pools import _shown
from tests.pools import counted_work as work
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import CELLS, at, eventually, followed

pytestmark = pytest.mark.processes

#: The rows of workers below the pool of that name: the texts of their cells.
WORKERS = """
const pool = [...document.querySelectorAll('[data-pool]')].find((row) => row.dataset.pool === args[0]);
const detail = pool.nextElementSibling;
const rows = detail?.matches('.detail') ? [...detail.querySelectorAll('.key-rows tbody tr')] : [];
return rows.map((row) => [...row.cells].map((cell) => cell.textContent));
"""
ROW = "[data-pool='counted']"


async def test_a_pool_is_a_row_that_opens_to_its_workers(tab: Tab, client: httpx.AsyncClient, tmp_path: Path) -> None:
    async with Runtime(dashboard=HERE) as rt, at(tab, rt), followed(client, rt) as look:
        pid = await work.tries(str(tmp_path / "one"))
        async with work.holding(tmp_path / "go", 3):
            await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: row[1:4] == ["1", "1", "2"])
            await tab.click(f"{ROW} button")
            [worker] = await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows and rows[0][1] == "held")
            assert worker[0] == f"pid {pid}"
            assert worker[2] == "2"
            assert worker[3].endswith(" MB")
        await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows[0][1] == "nothing")
        # Calls are told a few times a second, apart from the workers.
        await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: int(row[4]) >= 4)
        lost = look.state["pools"]["counted"]["lost"]
        with pytest.raises(Exception, match="lost"):
            await work.killed()
        await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: row[5] == str(lost + 1))
        await eventually(lambda: tab.js(WORKERS, "counted"), lambda rows: rows == [])
        assert await tab.text(f"{ROW} + .detail .empty") == "No worker is there."


async def test_a_pool_opens_before_its_workers_are_looked_at(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unlooked:
        unlooked.setattr(_shown, "workers", dict)
        async with Runtime(dashboard=HERE) as rt, at(tab, rt):
            pid = await work.tries(str(tmp_path / "one"))
            await eventually(lambda: tab.js(CELLS, "pool", "counted"), lambda row: row[1:2] == ["1"])
            await tab.click(f"{ROW} button")
            assert await tab.text(f"{ROW} + .detail .empty") == "Its workers are listed in a moment."
            unlooked.undo()
            rows = await eventually(lambda: tab.js(WORKERS, "counted"))
            assert [row[0] for row in rows] == [f"pid {pid}"]
            assert await tab.js("return document.querySelector(args[0]).hidden", f"{ROW} + .detail .empty")
