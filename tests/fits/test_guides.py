"""The sessions in docs/: programs that are served, tested or run in a kernel there, as the commands below them say."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.examples.support import LONG, environment
from tests.examples.test_readme import PAGES, ROOT, blocks_of

from .support import Program, quiet

pytestmark = pytest.mark.processes


def sessions() -> list[tuple[str, str, str]]:
    """Each program that is followed by commands, with the name of its place."""
    found = []
    for page in PAGES:
        blocks = blocks_of(page)
        for number, (language, text) in enumerate(blocks):
            if language == "console":
                assert number, page
                assert blocks[number - 1][0] == "python", page
                found.append((f"{page.relative_to(ROOT)}:{number}", blocks[number - 1][1], text))
    return found


def steps(session: str) -> list[tuple[list[str], str]]:
    """Its commands, each with what it shows."""
    parts = re.split(r"^\$ (.*)\n", session, flags=re.MULTILINE)
    assert parts[0] == ""
    return [(shlex.split(command), shown) for command, shown in zip(parts[1::2], parts[2::2], strict=True)]


def ask(url: str, command: list[str]) -> str:
    """What curl would show."""
    *options, address = command[1:]
    method = options[1] if options[:1] == ["-X"] else "GET"
    path = re.sub(r"^localhost:\d+", "", address)
    return httpx.request(method, url + path, timeout=LONG).text


def free_port() -> int:
    """One that nobody listens at now: a server of several sockets would choose one for each."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def check_served(folder: Path, program: list[str], requests: list[tuple[list[str], str]]) -> None:
    """`program` serves until SIGTERM, and complains of nothing."""
    port = free_port()
    argv = ["-m", *program, "--port", str(port)] if program[0] == "uvicorn" else program[1:]
    server = Program(*argv, cwd=folder, env=environment() | {"PORT": str(port)})
    try:
        server.wait_for(r"unning on http://")
        for command, shown in requests:
            assert command[0] == "curl"
            assert ask(f"http://127.0.0.1:{port}", command).rstrip("\n") == shown.rstrip("\n")
        code, _, said = server.end(signal.SIGTERM)
    finally:
        server.kill()
    assert code == (-signal.SIGTERM if program[0] == "uvicorn" else 0)
    quiet(said)


SESSIONS = sessions()


@pytest.mark.parametrize(("text", "session"), [pytest.param(t, s, id=name) for name, t, s in SESSIONS])
def test_a_session_goes_as_it_is_shown(tmp_path: Path, text: str, session: str) -> None:
    (tmp_path / "program.py").write_text(text)
    (program, shown), *requests = steps(session)
    if requests:
        assert not shown
        check_served(tmp_path, program, requests)
        return
    ended = subprocess.run(
        [sys.executable, "-m", *program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-len(shown.splitlines()) :]
    assert [re.sub(r" in [\d.]+s.*", "", line) for line in last] == shown.splitlines()


def test_there_is_a_session_for_each_server() -> None:
    programs = {shlex.split(session)[1] for _, _, session in SESSIONS}
    assert {"uvicorn", "python", "pytest", "jupyter"} <= programs
