"""One browser for all tests of the live page, and an empty page for each."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from selenium.webdriver import Chrome

from tests.telemetry.page import browser
from tests.telemetry.page.browser import Tab


@pytest.fixture(scope="package")
def driver() -> Iterator[Chrome]:
    found = browser.start()
    yield found
    found.quit()


@pytest.fixture(autouse=True)
async def tab(driver: Chrome, brisk: None) -> AsyncIterator[Tab]:
    """An empty page. At the end nothing unexpected was logged in it, and no other host was asked for anything.

    A tab that the last test has left in order is used again: a new one costs as much as some tests do.
    """
    if driver.current_url != browser.EMPTY:
        old = driver.current_window_handle
        driver.switch_to.new_window("tab")
        new = driver.current_window_handle
        driver.switch_to.window(old)
        driver.close()
        driver.switch_to.window(new)
    browser.prefer(driver)
    browser.resize(driver, 1280, 900)
    browser.said(driver), browser.requested(driver)
    made = Tab(driver)
    yield made
    assert [line for line in browser.said(driver) if not any(part in line for part in made.expected)] == []
    asked = [httpx.URL(each) for each in browser.requested(driver)]
    assert {each.host for each in asked if each.scheme not in {"data", "about"}} <= {"127.0.0.1"}
