"""Heads and nodes of Ray on this machine, each with a token, as processes that are ended one by one."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["Head", "Node", "free_port"]

#: Seconds that a start may take.
_START = 60.0


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


class Node:
    """One `ray start`, and all that it starts: a group of processes."""

    def __init__(self, folder: Path, *arguments: str, token: str) -> None:
        self.folder = folder
        self.log = folder / "start.log"
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        environment |= {"RAY_DISABLE_IMPORT_WARNING": "1", "HOME": str(folder)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *arguments],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + _START
        while "Ray runtime started" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"Ray did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)  # real: its processes start

    def kill(self) -> None:
        """Ends all of its processes at once, as a machine does that loses power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for folder in Path("/proc").iterdir():  # those that have left the group
            with contextlib.suppress(OSError, ValueError):
                if str(self.folder) in (folder / "cmdline").read_text():
                    os.kill(int(folder.name), signal.SIGKILL)

    def close(self) -> None:
        """Ends it, and removes its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Head(Node):
    """A cluster of one node, which others may join."""

    def __init__(self, cpus: int = 2) -> None:
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        #: Where Ray looks for the token, and the tests' programs for the address.
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "MOUNTAIN_TEST_HEAD": self.address,
        }
        folder = Path(tempfile.mkdtemp(prefix="mr-ray-", dir="/tmp"))  # short: there are sockets within
        super().__init__(
            folder,
            "--head",
            "--node-ip-address=127.0.0.1",
            f"--port={self.port}",
            f"--num-cpus={cpus}",
            "--include-dashboard=false",
            "--no-monitor",
            "--object-store-memory=100000000",
            f"--temp-dir={folder / 't'}",
            token=self.token,
        )
