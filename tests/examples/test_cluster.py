"""The program whose pool is processes of this machine or a cluster: only its address differs."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from tests.examples.support import PROGRAMS, execute, finish, printing, start, until, workers_of

pytestmark = pytest.mark.processes

FILES = 24
#: Runs the program as its users do: its module is imported, here and by the workers.
MAIN = "import asyncio, sys, cluster; asyncio.run(cluster.main(sys.argv[1]))"


@pytest.fixture(params=["processes"])
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment by which the program knows where its workers are."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(FILES):
        (tmp_path / f"{number}.bin").write_bytes(b"%d" % number * 1000)
    return tmp_path


def digest(path: Path) -> str:
    return hashlib.pbkdf2_hmac("sha256", path.read_bytes(), b"salt", 200_000).hex()


def check(files: Path, printed: list[str], *, lost: int) -> None:
    *lines, last = (line.rstrip() for line in printed)
    assert sorted(lines) == sorted(f"{digest(path)} {path}" for path in files.iterdir())
    assert last.endswith(f", running=0, waiting=0, lost={lost})")


@pytest.mark.usefixtures("_engine")
def test_every_file_has_its_digest(files: Path) -> None:
    code, output, said = execute("-W", "error", "-c", MAIN, files)
    assert (code, said) == (0, "")
    check(files, output.splitlines(), lost=0)


@pytest.mark.usefixtures("_engine")
def test_what_a_killed_worker_had_runs_again(files: Path) -> None:
    program = start("-W", "error", "-c", MAIN, files)
    with printing(program) as printed:
        until(lambda: len(printed) >= 2, program)
        killed = max(workers_of(program.pid))
        os.kill(killed, signal.SIGKILL)
    code, _, said = finish(program)
    assert code == 0, said
    assert f"worker {killed} of pool 'processes' is lost" in said
    check(files, printed, lost=1)
