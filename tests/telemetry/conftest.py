"""Fixtures of the tests of telemetry: an application that traces, a client of the page, and how often this is told."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from mountain_runtime.telemetry import _dashboard

from .tracing import Spans, traces


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traces() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as made:
        yield made


@pytest.fixture
def tick() -> float:
    """Seconds between two states of the page. Most tests wait for some, and real ones come once a second."""
    return 0.25


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch, tick: float) -> None:
    """The page's times, as fast as its `tick`."""
    for name in ("_TICK", "_EVERY"):
        monkeypatch.setattr(_dashboard, name, tick * getattr(_dashboard, name))
