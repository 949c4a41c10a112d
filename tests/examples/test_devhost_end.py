"""The end of the developer's host: what is in flight is answered, what was answered is done, and nothing is left."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import rpc
from mountain_runtime.errors import ShuttingDown
from tests.examples.checkouts import DEVHOST, Raw, asked, checkout, git, held, noted, served, surroundings
from tests.examples.support import LONG
from tests.examples.test_devhost import WAYS, Way
from tests.examples.test_host import family, in_order, lives
from tests.fits.support import quiet, until
from tests.rpc.test_stdio import read, written

pytestmark = pytest.mark.processes

SHUTTING_DOWN = -32013


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "state" / "state.json").read_text())
    return found


def fifty(caller: Raw, name: str, commit: str, terminal: int) -> None:
    """Sends fifty requests of all kinds, a fifth of them of git and more."""
    for number in range(10):
        caller.ask("state/set", {"key": f"{name} {number}", "value": number})
        caller.ask("git/log", [5])
        caller.ask("file/write", [f"{name}-{number}", "written"])
        caller.ask(*(("git/diff", []), ("git/status", []), ("git/show", [commit]))[number % 3])
        caller.ask(
            *(("file/open", ["README.md"]), ("file/find", ["main"]), ("terminal/write", [terminal, ""]))[number % 3]
        )


def refused(answers: list[dict[str, Any]]) -> bool:
    """It was not started, because the host shuts down."""
    return bool(answers) and answers[0].get("error", {}).get("data", {}).get("may_have_run") is False


def goes_on(caller: Raw, name: str) -> None:
    """Sends more, until the connection is closed."""
    with suppress(OSError):
        for number in range(10_000):
            caller.ask("state/set", {"key": f"{name} late {number}", "value": number})
            time.sleep(0.002)  # as callers do: none of them fills the socket with what is never read


def answers_of(caller: Raw, soon: int) -> set[str]:
    """Looks at each request of a caller; the first `soon` were read before the signal. The keys that were set."""
    done: set[str] = set()
    for number, (name, params) in caller.sent.items():
        answers = caller.answers[number]
        assert len(answers) == 1 or (not answers and number > soon), (name, params, answers)
        for answer in answers:
            error = answer.get("error")
            if error is not None and error["code"] == SHUTTING_DOWN:
                streams = name in ("file/watch", "terminal/open")
                assert error["data"] == {"type": "ShuttingDown", "may_have_run": streams}, answer
                assert streams or number > soon, answer
            else:
                assert error is None, answer
                if name == "state/set":
                    done.add(params["key"])
    return done


def test_a_signal_loses_no_request_in_flight(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout")
    commit = git(root, "rev-parse", "HEAD").strip()
    address, env = f"unix:{tmp_path / 'socket'}", noted(tmp_path / "bin")
    with served(root, tmp_path / "state", address, env) as host, held(tmp_path / "bin") as release:
        callers = {name: Raw(tmp_path / "socket") for name in ("ada", "grace", "barbara", "jean")}
        soon: dict[str, int] = {}
        numbers: dict[str, int] = {}
        for name, caller in callers.items():
            terminal = caller.ask("terminal/open", {"command": ["sh", "-c", "sleep 1000 & exec sleep 1000"]})
            watch = caller.ask("file/watch", {"existing": True})
            until(lambda: bool(caller.items[terminal] and caller.items[watch]))  # noqa: B023 - called in this turn
            numbers[name] = caller.items[terminal][0]["terminal"]
        for name, caller in callers.items():
            fifty(caller, name, commit, numbers[name])
            soon[name] = caller.ask("state/get", ["read"])
        until(lambda: all(caller.answers[soon[name]] for name, caller in callers.items()))
        started = family(host.process.pid)
        assert len(started) >= 9, "the terminals have two each, and git is at work"
        writers = [threading.Thread(target=goes_on, args=(caller, name)) for name, caller in callers.items()]
        host.process.send_signal(signal.SIGTERM)
        for writer in writers:
            writer.start()
        until(lambda: all(any(map(refused, each.answers.copy().values())) for each in callers.values()))
        release()
        for caller, writer in zip(callers.values(), writers, strict=True):
            caller.end()
            writer.join(LONG)
        code, output, said = host.end()
    assert (code, output) == (0, "")
    done = set[str]().union(*(answers_of(caller, soon[name]) for name, caller in callers.items()))
    assert len(done) >= 40
    assert set(state(tmp_path)) - {"recent"} == done, "each that was answered is there, and no other"
    for name in callers:
        assert all((root / f"{name}-{number}").read_text() == "written" for number in range(10))
    until(lambda: not any(map(lives, started)))
    report = quiet(said)[said.index("shutdown complete") :]
    names = re.findall(r"^  (\S.*?)  .* done$", report, re.MULTILINE)
    assert len(names) == len(report.splitlines()) - 1, report  # each step was done
    assert in_order(report, "refuse", "drain", "stop Index", "stop Workspace", "native"), report
    assert not (tmp_path / "socket").exists()


@WAYS
async def test_a_peer_knows_of_each_call_whether_it_was_done(way: Way, tmp_path: Path) -> None:
    done: set[str] = set()
    refused: set[str] = set()

    async def sets(peer: rpc.Peer, name: str) -> None:
        """Sets one key after another, until the answer says that the host shuts down."""
        for number in range(10_000):
            key = f"{name} {number}"
            try:
                await peer.call("state/set", [key, number])
            except ShuttingDown:
                refused.add(key)
                return
            done.add(key)

    root, bin_folder = checkout(tmp_path / "checkout"), tmp_path / "bin"
    async with way(root, tmp_path, noted(bin_folder)) as host:
        await host.peer.call("git/status")
        with held(bin_folder) as release:
            asking = [asyncio.ensure_future(host.peer.call("git/diff")) for _ in range(8)]
            setting = [asyncio.ensure_future(sets(host.peer, f"task {number}")) for number in range(20)]
            async with asyncio.timeout(LONG):
                while len(done) < 40 or len(asked(bin_folder)) < 10:
                    await asyncio.sleep(0.01)  # the host is another process: there is nothing to wait on
                host.terminate()
                await asyncio.gather(*setting)
                release()
                assert await asyncio.gather(*asking) == [""] * 8
        await host.end()
    assert len(refused) == 20
    assert set(state(tmp_path)) == done


def test_the_end_of_input_is_an_end_in_order_too(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout")
    requests = [("git/log", [1]), ("state/set", ["a", 1]), ("file/watch", [])]
    sent = written(*({"id": at, "method": name, "params": params} for at, (name, params) in enumerate(requests)))
    argv = [sys.executable, "-W", "error", str(DEVHOST), str(root), "--state", str(tmp_path / "state")]
    ran = subprocess.run(argv, input=sent, capture_output=True, env=surroundings(), timeout=LONG, check=False)
    assert ran.returncode == 0, ran.stderr
    quiet(ran.stderr.decode())
    answers: dict[int, Any] = {}
    stream = BytesIO(ran.stdout)
    while stream.tell() < len(ran.stdout):
        message = read(stream)
        if "id" in message:
            answers[message["id"]] = message
    assert sorted(answers) == [0, 1, 2]
    assert answers[0]["result"][0]["subject"] == "the third"
    assert answers[2]["error"]["code"] == SHUTTING_DOWN
    assert state(tmp_path) == {"a": 1}


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    root, address = checkout(tmp_path / "checkout"), f"unix:{tmp_path / 'socket'}"
    done: dict[str, int] = {}
    for turn in range(3):
        with served(root, tmp_path / "state", address) as host:
            caller = Raw(tmp_path / "socket")
            last = caller.ask("state/get", [f"{turn - 1} 0"])
            shell = caller.ask("terminal/open", {"command": ["sleep", "1000"]})
            until(lambda: bool(caller.answers[last] and caller.items[shell]))  # noqa: B023 - called in this turn
            assert caller.answers[last][0]["result"] == (None if turn == 0 else 0)
            started = family(host.process.pid)
            for number in range(200):
                caller.ask("state/set", {"key": f"{turn} {number}", "value": number})
            until(lambda: bool(caller.answered("state/set")))  # noqa: B023 - called in this turn
            for number in range(200, 400):
                caller.ask("state/set", {"key": f"{turn} {number}", "value": number})
            host.process.kill()
            caller.end()
        done |= {params["key"]: params["value"] for params in caller.answered("state/set").values()}
        until(lambda: not any(map(lives, started)))  # noqa: B023 - called in this turn
        assert done.items() <= state(tmp_path).items()
    assert len(done) >= 3
