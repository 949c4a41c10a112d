"""S7: the order in which a write does what makes it atomic and durable, as the system sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.providers import tracing

pytestmark = pytest.mark.processes

WRITER = """
import asyncio, sys
from mountain_runtime import fs
asyncio.run(fs.write_bytes(sys.argv[1], b"new" * 1_000_000, durable=sys.argv[2] == "True"))
"""


def calls(path: Path, *, durable: bool) -> list[list[str]]:
    """The calls of a write that are about its folder, each once, with the new file's own name as NEW."""
    argv = [sys.executable, tracing.__file__, sys.executable, "-c", WRITER, str(path), str(durable)]
    traced = subprocess.run(argv, capture_output=True, text=True, timeout=50)
    assert traced.returncode == 0, traced.stderr
    found: list[list[str]] = []
    for line in traced.stdout.splitlines():
        call = [name if name in ("write", "fsync", "rename") else fresh(name, path) for name in json.loads(line)]
        if call[1].startswith((str(path.parent), "NEW")) and call not in found:
            found.append(call)
    return found


def fresh(name: str, path: Path) -> str:
    return "NEW" if name.startswith(f"{path.parent}/.{path.name}.") else name


if sys.platform == "linux":  # elsewhere nothing like ptrace's view of system calls is at hand

    @pytest.mark.parametrize("there", [True, False])
    def test_a_durable_write_syncs_the_file_renames_it_and_syncs_the_folder(tmp_path: Path, there: bool) -> None:
        path = tmp_path / "file"
        if there:
            path.write_bytes(b"old")
        assert calls(path, durable=True) == [
            ["write", "NEW"],
            ["fsync", "NEW"],
            ["rename", "NEW", str(path)],
            ["fsync", str(tmp_path)],
        ]
        assert path.read_bytes() == b"new" * 1_000_000

    def test_a_quick_write_is_atomic_without_syncs(tmp_path: Path) -> None:
        path = tmp_path / "file"
        assert calls(path, durable=False) == [["write", "NEW"], ["rename", "NEW", str(path)]]
