"""A headless Chromium for the live page: how it is started, what it shows, and what it has said and asked for."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Mapping
from typing import Any
from unittest import mock

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
#: The page of a tab that no program is shown in.
EMPTY = "about:blank"
#: The interval, in seconds, of looks at states without an event.
LOOK = 0.02


def start() -> Chrome:
    """A browser that keeps what is written to its console and what is requested. It fetches nothing for itself."""
    if CHROMIUM is None or DRIVER is None:
        raise FileNotFoundError("Chromium or its driver is not there: `make test-page` says how to have them")
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    # Addresses on this machine are asked directly, whatever proxies the environment names.
    with mock.patch.dict(os.environ, {"no_proxy": "*", "NO_PROXY": "*"}):
        return Chrome(options=options, service=Service(executable_path=DRIVER))


def resize(driver: Chrome, width: int, height: int, scale: float = 1) -> None:
    """The size of the page in CSS pixels; a window itself cannot be as narrow as a phone."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver: Chrome, **features: str) -> None:
    """The system's preferences, such as `color_scheme="dark"`; those of the machine where it is not named."""
    wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


class Tab:
    """One page, for tests whose loop goes on meanwhile: what blocks runs on a thread."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        #: The messages that the console may have besides, in part.
        self.expected: list[str] = []

    async def open(self, url: str) -> None:
        await asyncio.to_thread(self.driver.get, url)

    async def js(self, body: str, *args: Any) -> Any:
        """The result of a function of `args` with this body; it may await."""
        script = f"return (async (...args) => {{ {body} }})(...arguments)"
        return await asyncio.to_thread(self.driver.execute_script, script, *args)

    async def until(self, body: str, *args: Any, within: float = 10) -> Any:
        """The function's result, once it is true."""
        end = time.monotonic() + within
        while not (found := await self.js(body, *args)):
            if time.monotonic() > end:
                shown = await self.js("return document.body.innerText")
                raise AssertionError(f"within {within:g} s it did not come to `{body}` of {args!r}; shown is:\n{shown}")
            await asyncio.sleep(LOOK)
        return found

    async def press(self, *keys: str) -> None:
        """Keys, one after another, for whatever has the focus."""
        await asyncio.to_thread(ActionChains(self.driver).send_keys(*keys).perform)

    async def click(self, css: str) -> None:
        """A click of the mouse on the one element that fits. One that is disabled would not take it, and fails."""

        def clicks() -> None:
            [found] = self.driver.find_elements("css selector", css)
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
            assert found.is_enabled(), f"{css} is disabled"
            found.click()

        await asyncio.to_thread(clicks)

    async def text(self, css: str) -> str:
        return str(await self.js("return document.querySelector(args[0]).textContent", css))

    async def formatted(self, how: str, *values: Any) -> list[str]:
        """Values as the page's format.js writes them."""
        body = "const format = await import('/format.js'); return args[1].map((value) => format[args[0]](value))"
        return list(await self.js(body, how, values))

    async def resize(self, width: int, height: int) -> None:
        await asyncio.to_thread(resize, self.driver, width, height)

    async def prefer(self, **features: str) -> None:
        await asyncio.to_thread(prefer, self.driver, **features)


def said(driver: Chrome) -> list[str]:
    """The messages of the console since the last time."""
    return [f"{entry['level']} {entry['source']}: {entry['message']}" for entry in driver.get_log("browser")]


def requested(driver: Chrome) -> list[str]:
    """The addresses that were asked for since the last time, answered or not."""
    messages: list[Mapping[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in driver.get_log("performance")
    ]
    sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [str(message["params"]["request"]["url"]) for message in sent]
