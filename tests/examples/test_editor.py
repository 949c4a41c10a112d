"""The editor host: its language server is asked until a signal comes, then it ends before the store, which commits."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from .support import LONG, PROGRAMS, environment

#: Says that it is ready, and answers each line.
PYLSP = f"""#!{sys.executable}
import json, os, sys
assert sys.argv[1:] == ["--stdio"]
print("pylsp is ready", flush=True)
with open("pid", "w") as file:
    file.write(str(os.getpid()))
for line in sys.stdin:
    asked = json.loads(line)
    print(f"hover of {{asked['path']}}:{{asked['line']}}", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_asks_its_sidecar_until_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pylsp").write_text(PYLSP)
    (programs / "pylsp").chmod(0o755)
    host = subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAMS / "editor.py")],
        cwd=tmp_path,
        env=environment() | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert host.stdout is not None
    lines = [host.stdout.readline().strip() for _ in range(20)]
    host.send_signal(number)
    output, said = host.communicate(timeout=LONG)
    assert host.returncode == 0, said
    assert lines == ["hover of a.py:3 x = 1", ""] * 10  # the line that is formatted has its own end
    assert said == ""
    assert output.endswith("x = 1\n\n"), "main ended between two questions"
    with contextlib.closing(sqlite3.connect(tmp_path / "host.db")) as db:
        assert db.execute("select k, v from kv").fetchall() == [("a.py:3", "hover of a.py:3")]
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
