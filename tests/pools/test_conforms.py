"""Pools of this machine, by the suite of all pools."""

import asyncio
from collections.abc import Iterator

import pytest

from . import on_processes
from .conformance import OfProcesses

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    """The pools end with the module."""
    yield

    async def close() -> None:
        for pool in (on_processes.kinds.pair, on_processes.kinds.one):
            await pool._close(5)

    asyncio.run(close())


class TestProcesses(OfProcesses):
    kinds = on_processes.kinds
    on = on_processes.functions
