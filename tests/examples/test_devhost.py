"""The developer's host over stdio and a socket: every command, of a checkout made here and of this very repository."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import rpc
from mountain_runtime.errors import PeerError
from tests.examples.checkouts import (
    DEVHOST,
    Host,
    Raw,
    asked,
    checkout,
    git,
    noted,
    on_a_socket,
    on_stdio,
    served,
    surroundings,
)
from tests.examples.support import LONG, ROOT, execute
from tests.examples.test_host import lives

pytestmark = pytest.mark.processes

Way = Callable[[Path, Path, Mapping[str, str]], AbstractAsyncContextManager[Host]]
WAYS = pytest.mark.parametrize("way", [on_stdio, on_a_socket])


class Told:
    """A peer that knows which commands it has called."""

    def __init__(self, peer: rpc.Peer, root: Path) -> None:
        self._peer = peer
        self.root = root
        self.called: set[str] = set()

    async def call(self, name: str, *params: Any, **named: Any) -> Any:
        self.called.add(name)
        return await asyncio.wait_for(self._peer.call(name, named or params), LONG)

    def stream(self, name: str, **named: Any) -> Any:
        self.called.add(name)
        return self._peer.stream(name, named)

    async def refused(self, error: str, name: str, *params: Any) -> str:
        """The message of the error of that class which the command answers with."""
        with pytest.raises(PeerError) as raised:
            await self.call(name, *params)
        assert raised.value.data["type"] == error
        return raised.value.message


async def until(true: Callable[[], bool]) -> None:
    """Waits until something has come true in the host."""
    async with asyncio.timeout(LONG):
        while not true():
            await asyncio.sleep(0.01)  # the host is another process: there is nothing to wait on


async def files(host: Told) -> None:
    assert await host.call("file/read", "README.md") == "# three\n"
    await host.call("file/write", "src/new.py", "print('new')\n")
    assert (host.root / "src" / "new.py").read_text() == "print('new')\n"
    assert "leads out of the root" in await host.refused("PermissionError", "file/write", "../out", "")
    await host.refused("PermissionError", "file/read", "/etc/passwd")
    await host.refused("FileNotFoundError", "file/open", "missing")
    async with asyncio.timeout(LONG):
        while await host.call("file/find", "new PY") != ["src/new.py"]:  # the index hears of it in a moment
            await asyncio.sleep(0.01)
    assert await host.call("file/find", "") == ["src", "README.md", ".gitignore", "src/new.py", "src/main.py"]
    assert await host.call("file/find", "", 1) == ["src"]


async def searches(host: Told) -> None:
    matches = [each async for each in host.stream("file/search", pattern="todo")]
    assert matches == [{"path": "src/main.py", "line": 3, "column": 18, "text": 'print("three")  # TODO: say more'}]
    assert [each async for each in host.stream("file/search", pattern="todo", include=["*.md"])] == []
    with pytest.raises(PeerError, match="regex"):
        _ = [each async for each in host.stream("file/search", pattern="(")]


async def watches(host: Told) -> None:
    async with host.stream("file/watch", existing=True) as batches:
        there = {each["path"] for each in await anext(batches)}
        assert {".gitignore", "README.md", "src", "src/main.py"} <= there
        assert not any(each.startswith(".git/") or each.endswith(".log") for each in there)
        (host.root / "README.md").write_text("# four\n")
        (host.root / "more.log").write_text("")
        git(host.root, "add", "README.md")
        (host.root / "last").write_text("")
        seen: dict[str, str] = {}
        async with asyncio.timeout(LONG):
            while "last" not in seen:
                seen |= {each["path"]: each["kind"] for each in await anext(batches)}
        assert seen == {"README.md": "changed", "last": "made"}
    git(host.root, "checkout", "-qf", "HEAD", "README.md")
    (host.root / "last").unlink()


async def asks_git(host: Told) -> None:
    last, *before = await host.call("git/log")
    assert [each["subject"] for each in (last, *before)] == ["the third", "the second", "the first"]
    assert last["author"] == "Ada"
    assert [each["id"] for each in await host.call("git/log", path="src/main.py", most=1)] == [last["id"]]
    assert last["id"] == git(host.root, "rev-parse", "HEAD").strip()
    assert '+print("three")' in await host.call("git/show", last["id"])
    assert "40 hexadecimal digits" in await host.refused("ValueError", "git/show", "HEAD")
    assert "bad object" in await host.refused("GitFailed", "git/show", "0" * 40)
    (host.root / "README.md").write_text("# five\n")
    (host.root / "ä file").write_text("")
    status = await host.call("git/status")
    assert {"path": "README.md", "state": " M"} in status
    assert {"path": "ä file", "state": "??"} in status
    assert "+# five" in await host.call("git/diff")
    assert await host.call("git/diff", path="src") == ""
    assert await host.call("git/diff", staged=True) == ""
    git(host.root, "add", "README.md")
    assert "+# five" in await host.call("git/diff", staged=True)


async def keeps(host: Told) -> None:
    assert await host.call("state/get", "theme") is None
    assert await host.call("state/get", "theme", "dark") == "dark"
    await host.call("state/set", "theme", {"name": "light", "size": 12})
    assert await host.call("state/get", "theme") == {"name": "light", "size": 12}
    await host.call("state/set", "theme", None)
    assert await host.call("state/get", "theme", "none") == "none"
    for path in ("README.md", "src/main.py", "README.md"):
        await host.call("file/open", path)
    assert await host.call("state/get", "recent") == ["README.md", "src/main.py"]


async def types(host: Told) -> None:
    output, code = "", None
    async with host.stream("terminal/open", columns=90, rows=30) as items:
        number = (await anext(items))["terminal"]
        await host.call("terminal/write", number, "stty size; pwd; echo sum $((40+2))\r")
        async with asyncio.timeout(LONG):
            while "sum 42" not in output:
                output += (await anext(items))["text"]
        assert "30 90" in output
        assert str(host.root) in output
        assert "sum 42" in await host.call("terminal/screen", number)
        await host.call("terminal/resize", number, 100, 40)
        await host.call("terminal/write", number, "stty size\r")
        async with asyncio.timeout(LONG):
            while "40 100" not in output:
                output += (await anext(items))["text"]
        await host.call("terminal/close", number)
        async for each in items:
            code = each["exit"]
    assert code is not None
    await host.refused("LookupError", "terminal/write", number, "")
    shown = [each async for each in host.stream("terminal/open", command=["sh", "-c", "printf 'ä€'; exit 3"])]
    assert "".join(each["text"] for each in shown) == "ä€"
    assert shown[-1]["exit"] == 3


@WAYS
async def test_every_command_answers(way: Way, tmp_path: Path) -> None:
    async with way(checkout(tmp_path / "checkout"), tmp_path, surroundings()) as started:
        host = Told(started.peer, tmp_path / "checkout")
        for each in (files, searches, watches, asks_git, keeps, types):
            await each(host)
        described = await started.peer.call("rpc.discover")
        assert host.called == {each["name"] for each in described["methods"]}
        started.terminate()
        await started.end()


@WAYS
async def test_it_opens_its_own_repository(way: Way, tmp_path: Path) -> None:
    async with way(ROOT, tmp_path, surroundings()) as started:
        host = Told(started.peer, ROOT)
        here = "tests/examples/test_devhost.py"
        assert here in await host.call("file/find", "devhost")
        word = "heliotrope armadillo"
        assert [each["path"] async for each in host.stream("file/search", pattern=word)] == [here]
        assert word in await host.call("file/open", here)
        assert await host.call("state/get", "recent") == [here]
        [last] = await host.call("git/log", 1)
        assert last["id"] in await host.call("git/show", last["id"])
        assert all(each["path"] for each in await host.call("git/status"))
        await host.call("git/diff")
        async with host.stream("file/watch", existing=True) as batches:
            async with asyncio.timeout(LONG):
                while here not in {each["path"] for each in await anext(batches)}:
                    pass  # of a large tree, what is there comes in several batches
        command = ["git", "--no-pager", "log", "-1", "--format=commit %H"]
        shown = [each async for each in host.stream("terminal/open", command=command)]
        assert f"commit {last['id']}" in "".join(each["text"] for each in shown)
        started.terminate()
        await started.end()


async def test_a_terminal_is_its_callers_and_ends_with_it(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    with served(checkout(tmp_path / "checkout"), tmp_path / "state", address):
        owner = Raw(tmp_path / "socket")
        shown = owner.items[owner.ask("terminal/open", {"command": ["sh", "-c", "echo pid $$; exec sleep 1000"]})]
        async with rpc.connect(address) as other:
            await until(lambda: "\n" in "".join(each["text"] for each in shown))
            pid = int("".join(each["text"] for each in shown).split()[1])
            with pytest.raises(PeerError, match="there is no terminal"):
                await other.call("terminal/write", [shown[0]["terminal"], "x"])
            assert lives(pid)
            owner.hang_up()
            await until(lambda: not lives(pid))


def recorded(folder: Path) -> str:
    return (folder / "state" / "requests.jsonl").read_text()


async def test_it_is_warm_when_it_serves(tmp_path: Path) -> None:
    """And what callers write or type is not in the record."""
    root, address = checkout(tmp_path / "checkout"), f"unix:{tmp_path / 'socket'}"
    commit = git(root, "rev-parse", "HEAD").strip()
    with served(root, tmp_path / "state", address) as host:
        async with rpc.connect(address) as peer:
            patch = await peer.call("git/show", [commit])
            await peer.call("state/set", {"key": "token", "value": "sesame"})
            await peer.call("file/write", ["notes", "sesame"])
        assert host.end(signal.SIGTERM)[0] == 0
    assert commit in recorded(tmp_path)
    assert "sesame" not in recorded(tmp_path)
    with served(root, tmp_path / "state", address, noted(tmp_path / "bin")) as host:
        assert [each for each in asked(tmp_path / "bin") if commit in each] != [], "before it serves"
        before = len(asked(tmp_path / "bin"))
        async with rpc.connect(address) as peer:
            assert await peer.call("git/show", [commit]) == patch
            assert len(asked(tmp_path / "bin")) == before
        assert "no records" not in host.end(signal.SIGTERM)[2]


def test_a_folder_that_is_no_checkout_is_an_error(tmp_path: Path) -> None:
    code, output, said = execute(DEVHOST, tmp_path, "--state", tmp_path / "state")
    assert code == 1
    assert output == ""
    assert "not a git repository" in said


def test_one_host_at_a_time_has_a_state(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout")
    with served(root, tmp_path / "state", f"unix:{tmp_path / 'one'}") as host:
        with pytest.raises(AssertionError, match="it ended before that"):
            with served(root, tmp_path / "state", f"unix:{tmp_path / 'two'}"):
                raise RuntimeError("it serves")
        assert host.end(signal.SIGTERM)[0] == 0


def test_without_a_folder_its_state_is_in_that_of_git(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout")
    argv = [sys.executable, "-W", "error", str(DEVHOST), str(root)]
    ran = subprocess.run(argv, input=b"", capture_output=True, env=surroundings(), timeout=LONG, check=False)
    assert (ran.returncode, ran.stdout) == (0, b""), ran.stderr
    assert [each.name for each in (root / ".git" / "devhost").iterdir()] == ["lock"]
