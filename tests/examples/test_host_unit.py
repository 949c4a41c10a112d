"""The host's unit for systemd: it is valid, and what it says of start, stop and exit codes holds for the program."""

import configparser
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mountain_runtime import Shutdown
from tests.examples.support import ROOT, environment
from tests.examples.test_host import HOST, family, lives
from tests.fits.support import Server, until

pytestmark = pytest.mark.processes

UNIT = HOST.with_name("host.service")


@dataclass
class Unit:
    """The settings that systemd would take from the file."""

    service: configparser.SectionProxy

    def argv(self, state: Path) -> list[str]:
        """The command, as it would be on this machine."""
        here = self.service["ExecStart"].replace("%S", str(state)).replace("--port 8080", "--port 0")
        program, *arguments = shlex.split(here)
        assert program == f"{self.service['WorkingDirectory']}/.venv/bin/python"
        return arguments

    @property
    def good_ends(self) -> set[int]:
        """0, the death by SIGTERM and its kin, which systemd takes for clean, and what the unit adds."""
        clean = {0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE}
        return clean | {int(code) for code in self.service["SuccessExitStatus"].split()}


@pytest.fixture
def unit() -> Unit:
    parser = configparser.ConfigParser(interpolation=None)
    # systemd minds the case
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return Unit(parser["Service"])


@contextmanager
def started(unit: Unit, state: Path) -> Iterator[Server]:
    """As systemd starts it: it is up when it has said so on the socket that it was given."""
    (state / unit.service["StateDirectory"]).mkdir()
    address = str(state / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(address)
        told.settimeout(20)
        server = Server(*unit.argv(state), cwd=ROOT, env=environment() | {"NOTIFY_SOCKET": address})
        try:
            assert told.recv(100) == b"READY=1"
            server.locate()
            assert server.get("/readyz").status_code == 200
            yield server
        finally:
            server.kill()


def stop(unit: Unit, server: Server) -> int:
    """`systemctl stop`: the signal, to the main process alone, and the end within its time."""
    assert unit.service["KillMode"] == "mixed"
    server.process.send_signal(signal.Signals[unit.service["KillSignal"]])
    return server.process.wait(float(unit.service["TimeoutStopSec"]))


def test_it_is_valid(tmp_path: Path) -> None:
    """systemd says so where there is one; the other tests read it on every machine."""
    # The program is checked for as well: it stands for the one that is installed.
    text = UNIT.read_text().replace("/srv/host/.venv/bin/python", sys.executable).replace("/srv/host", str(tmp_path))
    (tmp_path / UNIT.name).write_text(text)
    if systemd := shutil.which("systemd-analyze"):
        command = [systemd, "verify", "--man=no", str(tmp_path / UNIT.name)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        assert UNIT.name not in found.stderr, found.stderr


def test_it_gives_the_shutdown_its_time(unit: Unit) -> None:
    deadline = Shutdown(deadline=25).deadline
    assert f"deadline={deadline}" in HOST.read_text()
    assert isinstance(deadline, int)
    assert float(unit.service["TimeoutStopSec"]) > deadline + 1


def test_it_is_ready_when_it_says_so_and_stops_with_nothing_left(unit: Unit, tmp_path: Path) -> None:
    with started(unit, tmp_path) as server:
        sidecars = family(server.process.pid)
        assert server.post("/orders", content="shoes").status_code == 201
        assert stop(unit, server) == 0
        assert not any(map(lives, sidecars))
    with closing(sqlite3.connect(tmp_path / "host" / "orders.db")) as database:
        assert database.execute("select label from orders").fetchall() == [("LABEL-000001 SHOES",)]


def test_one_that_is_told_twice_has_ended_well_too(unit: Unit, tmp_path: Path) -> None:
    with started(unit, tmp_path) as server:
        for pid in family(server.process.pid):
            if b"labels.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGSTOP)  # the order that follows is never shipped
        server.post("/orders", content="stuck")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        code = stop(unit, server)
    assert code == 143
    assert code in unit.good_ends


def test_a_failed_start_is_a_failure(unit: Unit, tmp_path: Path) -> None:
    """Which `Restart=on-failure` acts on."""
    argv = unit.argv(tmp_path)  # the folder for the store is missing
    ended = subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode not in unit.good_ends
    assert "unable to open database file" in ended.stderr


def test_the_guide_shows_it_as_it_is() -> None:
    guide = (ROOT / "docs" / "guides" / "deployment.md").read_text()
    assert f"```ini\n{UNIT.read_text()}```" in guide
    grace = re.search(r"^  terminationGracePeriodSeconds: (\d+)", guide, re.MULTILINE)
    assert grace
    assert int(grace[1]) > 25 + 1
