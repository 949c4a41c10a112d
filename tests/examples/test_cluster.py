"""The program whose pool is processes of this machine or a cluster: only its address differs."""

import functools
import hashlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.examples.support import (
    PROGRAMS,
    execute,
    finish,
    printing,
    start,
    until,
    without_notices,
    workers_of,
    workers_on,
)
from tests.pools.ray.head import Head

FILES = 12
#: Runs the program as its users do: its module is imported, here and by the workers.
MAIN = "import asyncio, sys, cluster; asyncio.run(cluster.main(sys.argv[1]))"


@pytest.fixture(autouse=True)
def _program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(FILES):
        (tmp_path / f"{number}.bin").write_bytes(b"%d" % number * 1000)
    return tmp_path


@functools.cache  # the same files in each test
def digest(data: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", data, b"salt", 200_000).hex()


def check(files: Path, printed: list[str], *, lost: int) -> None:
    *lines, last = (line.rstrip() for line in printed)
    assert sorted(lines) == sorted(f"{digest(path.read_bytes())} {path}" for path in files.iterdir())
    assert last.endswith(f", running=0, waiting=0, lost={lost})")


def runs(files: Path) -> None:
    code, output, said = execute("-W", "error", "-c", MAIN, files)
    assert (code, said) == (0, "")
    check(files, output.splitlines(), lost=0)


def runs_though_a_worker_is_killed(files: Path, pool: str, workers: Callable[[int], Iterable[int]]) -> None:
    """`workers` finds those of a program."""
    program = start("-W", "error", "-c", MAIN, files)
    with printing(program) as printed:
        until(lambda: len(printed) >= 2, program)
        killed = max(workers(program.pid))
        os.kill(killed, signal.SIGKILL)
    code, _, said = finish(program)
    assert code == 0, said
    assert f" of pool '{pool}' is lost" in said
    check(files, without_notices(printed), lost=1)


class TestProcesses:
    pytestmark = pytest.mark.processes

    @pytest.fixture(autouse=True)
    def _no_cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def test_every_file_has_its_digest(self, files: Path) -> None:
        runs(files)

    def test_what_a_killed_worker_had_runs_again(self, files: Path) -> None:
        runs_though_a_worker_is_killed(files, "processes", workers_of)


class TestRay:
    pytestmark = pytest.mark.ray

    @pytest.mark.usefixtures("cluster")
    def test_every_file_has_its_digest(self, files: Path) -> None:
        runs(files)

    def test_what_a_killed_worker_had_runs_again(self, files: Path, cluster: Head) -> None:
        runs_though_a_worker_is_killed(files, "ray", lambda _: workers_on(cluster.folder))
