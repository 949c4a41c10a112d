"""Checkouts of git for the developer's host, the host as a process, and callers of it."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from mountain_runtime import process, rpc
from tests.examples.support import LONG, ROOT, environment
from tests.fits.support import Program, quiet, until

DEVHOST = ROOT / "examples" / "devhost" / "main.py"
#: Git without the settings of the machine. A checkout may belong to another user, as one that is mounted does.
SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "SHELL": "/bin/sh",
}


def surroundings() -> dict[str, str]:
    """The environment of a host."""
    return environment() | SETTINGS


def git(folder: Path, *arguments: str) -> str:
    """Runs git there: what it writes."""
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, env=surroundings(), stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout


def checkout(folder: Path) -> Path:
    """Three commits of a small program, and a file that git ignores."""
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "-q")
    for text, subject in (("one", "the first"), ("two", "the second"), ("three", "the third")):
        (folder / "src" / "main.py").write_text(f'"""Says {text}."""\n\nprint("{text}")  # TODO: say more\n')
        (folder / "README.md").write_text(f"# {text}\n")
        (folder / ".gitignore").write_text("*.log\n")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", subject)
    (folder / "noise.log").write_text("TODO: nothing\n")
    return folder


def noted(folder: Path) -> dict[str, str]:
    """An environment whose git notes its arguments in the file `asked` of a folder, and waits where it is held."""
    folder.mkdir()
    real = shutil.which("git")
    assert real is not None
    program = folder / "git"
    waits = f'[ -p "{folder}/hold" ] && read _ <"{folder}/hold"'
    program.write_text(f'#!/bin/sh\necho "$@" >>"{folder}/asked"\n{waits}\nexec "{real}" "$@"\n')
    program.chmod(0o755)
    return surroundings() | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def held(folder: Path) -> Iterator[Callable[[], None]]:
    """That git waits, without a process beside it, until the given function is called."""
    os.mkfifo(folder / "hold")

    def release() -> None:
        opened = os.open(folder / "hold", os.O_RDWR)
        (folder / "hold").unlink()
        os.close(opened)

    try:
        yield release
    finally:
        if (folder / "hold").exists():
            release()


def asked(folder: Path) -> list[str]:
    """The arguments with which that git was run."""
    return (folder / "asked").read_text().splitlines()


@contextmanager
def served(root: Path, state: Path, address: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """The host at an address, with every warning an error. It is killed at the end if the test has not ended it."""
    host = Program(str(DEVHOST), str(root), address, "--state", str(state), env=env or surroundings())
    try:
        host.wait_for("^serving ")
        until(lambda: listens(address.removeprefix("unix:")))
        yield host
    finally:
        host.kill()


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as there:
        return there.connect_ex(path) == 0


class Host:
    """The host as its caller has it."""

    def __init__(self, peer: rpc.Peer, send: Callable[[int], None], wait: Callable[[], Awaitable[int]], said: Path):
        self.peer = peer
        self._send, self._wait, self._said = send, wait, said

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    async def end(self) -> None:
        """It ends well, and has nothing to complain of."""
        code = await asyncio.wait_for(self._wait(), LONG)
        said = quiet(self._said.read_text())
        assert code == 0, said
        assert "shutdown complete" in said


@asynccontextmanager
async def on_stdio(root: Path, folder: Path, env: Mapping[str, str]) -> AsyncIterator[Host]:
    """The host as a child of its one caller."""
    argv = (sys.executable, "-W", "error", str(DEVHOST), str(root), "--state", str(folder / "state"))
    async with process.open("sh", "-c", 'exec "$@" 2>"$0"', str(folder / "said"), *argv, env=env) as child:
        async with rpc.connect(child) as peer:
            yield Host(peer, child.signal, child.wait, folder / "said")


@asynccontextmanager
async def on_a_socket(root: Path, folder: Path, env: Mapping[str, str]) -> AsyncIterator[Host]:
    """The host at an address, with one caller."""
    address = f"unix:{folder / 'socket'}"

    async def end() -> int:
        code, output, said = await asyncio.to_thread(host.end)
        assert output == ""
        assert not (folder / "socket").exists()
        (folder / "said").write_text(said)
        return code

    with served(root, folder / "state", address, env) as host:
        async with rpc.connect(address) as peer:
            yield Host(peer, host.process.send_signal, end, folder / "said")


class Raw:
    """A caller of bytes over a socket, without a client of ours: it keeps every answer that comes, until the end."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LONG)
        self._socket.connect(str(path))
        #: By their ids.
        self.answers: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        self.items: defaultdict[int, list[Any]] = defaultdict(list)
        #: Requests by their ids.
        self.sent: dict[int, tuple[str, Any]] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def ask(self, name: str, params: Any = ()) -> int:
        """Sends a request: its id. Raises OSError when the host has gone."""
        number = len(self.sent) + 1
        self.sent[number] = name, params
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": name, "params": params}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    def answered(self, name: str) -> dict[int, Any]:
        """The parameters of the requests of a command that have been answered, by their ids."""
        return {
            number: params for number, (called, params) in self.sent.items() if called == name and self.answers[number]
        }

    def hang_up(self) -> None:
        """As a caller that is killed."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.end()

    def _read(self) -> None:
        with closing(self._socket.makefile("rb")) as stream:
            while True:
                try:
                    head = stream.readline()
                except ConnectionResetError:  # it has closed with requests unread
                    return
                if not head:
                    return
                size = int(head.split(b":")[1])
                assert stream.readline() == b"\r\n"
                message = json.loads(stream.read(size))
                if "id" in message:
                    self.answers[message["id"]].append(message)
                else:
                    self.items[message["params"]["token"]] += message["params"]["value"]

    def end(self) -> None:
        """Returns when the host has closed the connection, and all that it sent is here."""
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "the host did not close the connection"
        self._socket.close()
