"""Pools whose workers live as long as a module of tests."""

import asyncio
from collections.abc import Iterator

import pytest

from . import work


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    """The shared pools end with the module."""
    yield

    async def close() -> None:
        for pool in (work.one, work.two, work.many):
            await pool._close(5)

    asyncio.run(close())
