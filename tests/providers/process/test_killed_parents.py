"""Leftovers of a parent that was killed with `kill -9`: none, on Linux. Elsewhere the docs promise nothing."""

import sys
from pathlib import Path

import pytest

from tests.providers.process import parents
from tests.providers.process.support import lives, pids

pytestmark = pytest.mark.processes


def test_a_sidecar_and_its_grandchild_are_gone_and_the_port_is_free(tmp_path: Path) -> None:
    """P3."""
    if sys.platform != "linux":
        return
    port = parents.free_port()
    parent = parents.start(tmp_path, port)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    assert all(lives(pid) for pid in pids(tmp_path / "pids", 2))
    assert not parents.is_free(port)
    parents.check_killed(tmp_path, port, parent)


def test_whenever_it_is_killed(tmp_path: Path) -> None:
    """15 times at random moments; tests/stress has 500."""
    parents.check(tmp_path, 15)
