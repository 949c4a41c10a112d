"""S7: a process that is killed while it writes leaves the old content or the new, whole."""

from pathlib import Path

import pytest

from tests.providers.killing import kill_writers

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "quick"])
def test_killed_while_it_writes(tmp_path: Path, durable: bool) -> None:
    kill_writers(tmp_path, times=8, durable=durable)
