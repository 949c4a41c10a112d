"""Programs that are killed with `kill -9` while a sidecar of theirs serves, at whatever moment."""

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.providers.process.support import PYTHON, eventually, lives

SERVING = str(Path(__file__).with_name("serving.py"))

#: A runtime with a sidecar that has a grandchild, both on one port; it is started, used and stopped, over and over.
PARENT = """
import asyncio, sys
from mountain_runtime import Runtime, process, sidecar

async def main():
    serving, port, file = sys.argv[1:]
    make = sidecar(sys.executable, "-S", serving, "port", port, "grandchild", file, ready=int(port), grace=0.05)
    async with Runtime():
        while True:
            async with make():
                print("ready", flush=True)
                await process.run("true")
                await asyncio.sleep(float(sys.stdin.readline() or 1000))

asyncio.run(main())
"""


def free_port() -> int:
    """A port on which no program listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a program could listen there, without the help of SO_REUSEPORT."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def start(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """The parent, whose sidecars write their numbers to `pids` there."""
    argv = [PYTHON, "-c", PARENT, SERVING, str(port), str(folder / "pids")]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)


def check_killed(folder: Path, port: int, parent: "subprocess.Popen[bytes]") -> None:
    """Kills it. Within 2 s nothing of its is left: no process, no port, no file."""
    parent.kill()
    parent.communicate()
    ended = time.monotonic()
    file = folder / "pids"
    known = [int(line) for line in file.read_text(encoding="utf-8").split()] if file.exists() else []
    assert eventually(lambda: not any(lives(pid) for pid in known), 2), known
    assert eventually(lambda: is_free(port), 2 - (time.monotonic() - ended)), f"port {port} is taken"
    guards = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout.split()
    assert eventually(lambda: not any(lives(int(pid)) for pid in guards), 2), guards
    assert {entry.name for entry in folder.iterdir()} <= {"pids"}
    file.unlink(missing_ok=True)


def check(folder: Path, times: int, seed: int = 0) -> None:
    """Kills as many parents, each at some moment between its first line of code and its third sidecar."""
    if sys.platform != "linux":
        return
    chance = random.Random(seed)
    port = free_port()
    for _ in range(times):
        parent = start(folder, port)
        assert parent.stdin is not None
        try:
            parent.stdin.write(b"%f\n%f\n" % (chance.uniform(0, 0.03), chance.uniform(0, 0.03)))
            parent.stdin.flush()
        except BrokenPipeError:
            pass
        time.sleep(chance.uniform(0.05, 0.4))  # real: so is the program
        check_killed(folder, port, parent)
