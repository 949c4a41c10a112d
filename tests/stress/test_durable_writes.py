"""S7 in full: five hundred processes are killed while they write."""

from pathlib import Path

import pytest

from tests.providers.killing import kill_writers

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "quick"])
def test_killed_while_it_writes(tmp_path: Path, durable: bool) -> None:
    kill_writers(tmp_path, times=500, durable=durable)
