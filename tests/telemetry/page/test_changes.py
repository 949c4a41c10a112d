"""The page says which policies have changed, and how, whether or not that is logged."""

import logging

import pytest

from mountain_runtime import CircuitBreaker, Runtime, effect
from tests.telemetry.looks import HERE, Boom
from tests.telemetry.page.browser import Tab
from tests.telemetry.page.shown import BEYOND, at, attempt, eventually, named

pytestmark = pytest.mark.processes

TEXTS = "return [...document.querySelectorAll('.changes .text')].map((node) => node.textContent)"


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR], ids=["logged", "not logged"])
async def test_openings_are_listed_as_they_are_logged(tab: Tab, caplog: pytest.LogCaptureFixture, level: int) -> None:
    name = f"<b>{named('upstreams')}</b>"
    breaker = CircuitBreaker(failures=2, cooldown=600, key=lambda host: host, name=name)

    @effect(breaker, name=named())
    async def asks(host: str) -> None:
        raise Boom(host)

    with caplog.at_level(level, "mountain_runtime.policy"):
        async with Runtime(dashboard=HERE) as rt, at(tab, rt):
            assert await tab.js("return document.querySelector('.changes').closest('.panel').hidden")
            for host in ("a.example", "b.example"):
                for _ in range(2):
                    await attempt(asks(host))
            found = await eventually(lambda: tab.js(TEXTS), lambda found: len(found) == 2)
            assert all(name in text and "opened" in text for text in found)
            logged = [record.getMessage() for record in caplog.records if record.name == "mountain_runtime.policy"]
            assert logged == (found[::-1] if level == logging.INFO else [])
            for width in (390, 1280):
                await tab.resize(width, 844)
                assert await tab.js(BEYOND) == [0, []]
