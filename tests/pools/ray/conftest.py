"""A cluster of Ray for the tests of this folder, which are left out where Ray is not installed."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from .head import Head


@pytest.fixture(scope="session", autouse=True)
def head() -> Iterator[Head]:
    """The head that these tests connect to. The token stands where Ray looks for it."""
    made = Head()
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "MOUNTAIN_TEST_HEAD")}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": made.token, "MOUNTAIN_TEST_HEAD": made.address}
    try:
        yield made
    finally:
        made.close()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture(scope="module", autouse=True)
def _closed(head: Head) -> Iterator[None]:
    """The shared pools end with the module."""
    yield
    from . import on_ray

    async def close() -> None:
        for pool in (on_ray.kinds.pair, on_ray.kinds.one):
            await pool._close(10)

    asyncio.run(close())
