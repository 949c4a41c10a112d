"""Chaos on the page: whether it is on, and what it does to the calls."""

import contextlib

import pytest

from mountain_runtime import Runtime, effect
from mountain_runtime.testing import chaos
from tests.telemetry.looks import HERE
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import CELLS, at, eventually, named

pytestmark = pytest.mark.processes

#: Whether the panel is hidden, and the number of its rows.
PANEL = """
const panel = [...document.querySelectorAll('.panel')].find((panel) => panel.querySelector('.chaos'));
return [panel.hidden, panel.querySelectorAll('[data-chaos]').length];
"""


async def test_chaos_is_a_row_of_a_panel_that_is_there_if_there_is_any(tab: Tab) -> None:
    name, faults = named("calls"), chaos(fail=1)
    async with Runtime(dashboard=HERE) as rt, at(tab, rt):
        await eventually(lambda: tab.js("return document.querySelector('.hedge') !== null"))
        hidden, rows = await tab.js(PANEL)  # other tests may have left some
        assert hidden is (rows == 0)

        @effect(faults, name=name)
        async def call() -> None: ...

        with faults.on():
            with contextlib.suppress(ConnectionError):
                await call()
            await eventually(lambda: tab.js(CELLS, "chaos", name), lambda row: row == [name, "on", "1", "1", "0", "0"])
        assert (await tab.js(PANEL))[0] is False
        await eventually(lambda: tab.js(CELLS, "chaos", name), lambda row: row == [name, "off", "1", "1", "0", "0"])
