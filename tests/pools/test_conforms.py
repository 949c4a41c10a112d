"""Pools of this machine, by the suite of all pools."""

import asyncio
from collections.abc import Iterator

import pytest

from . import on_processes, on_threads
from .conformance import Conformance, OfProcesses

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    """The pools end with the module."""
    yield

    async def close() -> None:
        for kinds in (on_processes.kinds, on_threads.kinds):
            for pool in (kinds.pair, kinds.one):
                await pool._close(5)

    asyncio.run(close())


class TestProcesses(OfProcesses):
    kinds = on_processes.kinds
    on = on_processes.functions


class TestThreads(Conformance):
    """The toy of docs/concepts/add-a-pool.md."""

    kinds = on_threads.kinds
    on = on_threads.functions
