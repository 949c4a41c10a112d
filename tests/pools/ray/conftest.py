"""The head in the environment of tests of pools on Ray, and pools that end with their module."""

import asyncio
from collections.abc import Iterator

import pytest

from .head import Head


@pytest.fixture(scope="session", autouse=True)
def _found(head: Head) -> Iterator[None]:
    """The head that these tests connect to, and its token where Ray looks for it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in head.environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.fixture(scope="module", autouse=True)
def _closed(_found: None) -> Iterator[None]:
    """A worker takes a second or two to start, so the tests of a module share their pools."""
    yield
    from . import attacked, on_ray

    async def close() -> None:
        for pool in (on_ray.kinds.pair, on_ray.kinds.one, attacked.single, attacked.growing):
            await pool._close(10)

    asyncio.run(close())
