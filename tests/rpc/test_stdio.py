"""stdio: the protocol has stdin and stdout, whatever the program prints; the end of input, or a signal, ends it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from mountain_runtime import rpc
from tests.rpc.support import Log, small

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]


def written(*messages: Any) -> bytes:
    bodies = [json.dumps({"jsonrpc": "2.0"} | each).encode() for each in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies)


def read(stream: IO[bytes]) -> Any:
    head = stream.readline()
    if head == b"after\n":  # the host has left
        return {}
    assert head.startswith(b"Content-Length: "), head
    assert stream.readline() == b"\r\n"
    return json.loads(stream.read(int(head.split(b":")[1])))


@pytest.fixture
def host() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rpc.hosts", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as child:
        yield child
        child.kill()


def test_what_prints_does_not_reach_the_protocol(host: "subprocess.Popen[bytes]") -> None:
    sent = written({"id": 1, "method": "shout", "params": ["hey"]}, {"id": 2, "method": "add", "params": [1]})
    out, err = host.communicate(sent, timeout=30)
    found = out.split(b"Content-Length: ")
    assert found[0] == b""
    assert {b'"result":"HEY"' in each for each in found[1:3]} == {True, False}
    # Lines that the program prints when the protocol is over are on stdout again.
    assert out.endswith(b"after\n")
    assert b"hey\n" in err
    assert b"raw hey\n" in err
    assert b"child hey\n" in err
    assert host.returncode == 0


def test_sigterm_answers_what_is_in_flight(host: "subprocess.Popen[bytes]") -> None:
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(written({"id": 1, "method": "wait", "params": ["w"]}, {"id": 2, "method": "add", "params": [1]}))
    host.stdin.write(written({"id": 3, "method": "forever"}))
    host.stdin.flush()
    while read(host.stdout).get("id") != 2:
        pass
    host.send_signal(signal.SIGTERM)
    host.stdin.write(written({"method": "release"}))
    host.stdin.flush()
    seen: dict[Any, Any] = {}
    number = 10
    while 1 not in seen:
        number += 1
        # Refused sooner or later: the signal is heard in its own time.
        host.stdin.write(written({"id": number, "method": "add", "params": [1]}))
        host.stdin.flush()
        while message := read(host.stdout):
            if "id" in message:
                seen[message["id"]] = message
            if message.get("id") == number:
                break
        if not message:  # it had answered all before it read this one
            break
        if "error" in seen[number]:
            assert seen[number]["error"]["code"] == -32013
            break
    rest = host.stdout.read()
    assert host.wait(30) == 0
    answers = [*seen.values()]
    while rest.startswith(b"Content-Length"):
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = int(head.split(b":")[1])
        answers.append(json.loads(rest[:size]))
        rest = rest[size:]
    by_id = {each["id"]: each for each in answers if "id" in each}
    assert by_id[1]["result"] == "w"
    assert by_id[3]["error"]["code"] == -32013


def test_files_are_input_and_output(tmp_path: Path) -> None:
    given, out = tmp_path / "in", tmp_path / "out"
    given.write_bytes(written({"id": 1, "method": "add", "params": [1]}, {"id": 2, "method": "add", "params": [2]}))
    with given.open("rb") as stdin, out.open("wb") as stdout:
        subprocess.run(
            [sys.executable, "-m", "tests.rpc.hosts", "serve"], stdin=stdin, stdout=stdout, check=True, cwd=ROOT
        )
    assert out.read_bytes().count(b'"result":') == 2


def test_no_input_is_an_end() -> None:
    argv = [sys.executable, "-m", "tests.rpc.hosts", "serve"]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=ROOT)
    assert (ran.returncode, ran.stdout) == (0, b"after\n"), ran.stderr


def test_a_reader_that_goes_ends_it(host: "subprocess.Popen[bytes]") -> None:
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(written({"id": 1, "method": "wait", "params": ["w"]}, {"id": 2, "method": "add", "params": [1]}))
    host.stdin.flush()
    assert read(host.stdout)["id"] == 2
    host.stdout.close()
    host.stdin.close()
    assert host.wait(30) in (0, 120)  # 120: the interpreter's own, of a stdout that is gone


async def test_one_router_at_a_time_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mountain_runtime.rpc._wires.stdio._open", True)
    with pytest.raises(RuntimeError, match="served already"):
        await small(Log()).serve()
    assert rpc.caller() is None
