"""Programs that ran in this process go when their test ends."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def gone() -> Iterator[None]:
    """Other tests count the timers of the process: those of a program's policies go with it."""
    yield
    gc.collect()
