"""Work that grows on the page: a row with its progress."""

import pytest

from mountain_runtime import Runtime, Work, amap, effect
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import CELLS, at, eventually, named

pytestmark = pytest.mark.processes


async def test_work_that_has_a_name_is_a_row(tab: Tab) -> None:
    name = named("crawl")
    work = Work(range(4), name=name)

    @effect(name=name)
    async def same(n: int) -> int:
        return n

    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await eventually(lambda: tab.js(CELLS, "work", name), lambda row: row == [name, "0/4", "4"])
        async with amap(same, work, limit=1) as results:
            assert len([each async for each in results]) == 4
        await eventually(lambda: tab.js(CELLS, "work", name), lambda row: row == [name, "4/4", "0"])
