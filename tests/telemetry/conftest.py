"""Fixtures of the tests of telemetry: an application that traces, a client of the page."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from .tracing import Spans, traces


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traces() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as made:
        yield made
