"""Programs that ran in this process go when their test ends; a cluster for those that have one."""

import gc
from collections.abc import Iterator

import pytest

from tests.pools.ray.head import Head


@pytest.fixture(autouse=True)
def gone() -> Iterator[None]:
    """Other tests count the timers of the process: those of a program's policies go with it."""
    yield
    gc.collect()


@pytest.fixture
def cluster(head: Head, monkeypatch: pytest.MonkeyPatch) -> Head:
    """A cluster with room for two workers, in the environment of the programs that a test starts."""
    monkeypatch.setenv("RAY_ADDRESS", head.address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    return head
