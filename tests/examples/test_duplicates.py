"""The example `duplicates`: its answer, its output, its exit codes, and how Ctrl-C stops it."""

import errno
import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.support import (
    AS_OTHERS,
    DUPLICATES,
    LONG,
    SHORT,
    count,
    environment,
    execute,
    groups_in,
    waste_in,
)

pytestmark = pytest.mark.processes


def files_in(output: str) -> int:
    found = re.search(r"^(\d+) files, \d+ compared in ", output, re.MULTILINE)
    assert found, output
    return int(found[1])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with everything that a search could get wrong."""
    root = tmp_path / "tree"
    content = b"the same in all places\n" * 1000
    (root / "deep" / "er").mkdir(parents=True)
    for name in (
        "a",
        "deep/b",
        "deep/er/c",
        "with space",
        "[bold]brackets[x]",
        "back\\slash",
        "line\nbreak",
        "\u00e4\u4e16",
        "-n",
    ):
        (root / name).write_bytes(content)
    (root / os.fsdecode(b"latin-\xe4")).write_bytes(content)
    (root / ".hidden").write_bytes(content)
    (root / "same size, another end").write_bytes(content[:-1] + b"!")
    (root / "same size, another beginning").write_bytes(b"T" + content[1:])
    for name in ("empty", "deep/empty", "deep/er/empty"):
        (root / name).touch()
    for name in ("small", "deep/small"):
        (root / name).write_bytes(b"x")
    # One file under three names is no waste; with a copy beside it, one.
    for number in range(2):
        (root / f"linked {number}").write_bytes(b"hard links %d" % number * 100)
        os.link(root / f"linked {number}", root / "deep" / f"again {number}")
        os.link(root / f"linked {number}", root / "deep" / "er" / f"again {number}")
    (root / "copy of linked 1").write_bytes(b"hard links 1" * 100)
    (root / "link").symlink_to("a")
    (root / "dangling").symlink_to("nowhere")
    (root / "deep" / "circle").symlink_to("..", target_is_directory=True)
    os.mkfifo(root / "pipe")
    return root


def test_the_answer_on_a_made_tree(tree: Path) -> None:
    groups, waste, files = count(tree)
    assert [len(group) for group in sorted(groups, key=len)] == [2, 2, 11]  # so the count itself sees what it should
    code, output, said = execute(DUPLICATES, tree)
    assert (code, said) == (1, "")
    assert groups_in(output) == groups
    assert waste_in(output) == waste
    assert files_in(output) == files


def test_with_a_live_page_it_says_where_and_what_ran(tree: Path) -> None:
    code, output, said = execute(DUPLICATES, "--dashboard", "127.0.0.1:0", tree)
    assert (code, groups_in(output)) == (1, count(tree)[0])
    assert re.search(r"^the dashboard is at http://127\.0\.0\.1:\d+/$", said, re.MULTILINE)
    [compared] = re.findall(r"(\d+) compared", output)
    assert re.findall(r"fs\.hash\W+(\d+)", said) == [compared], "each file is hashed once"
    code, _, said = execute(DUPLICATES, "--dashboard", "nowhere", tree)
    assert code == 2
    assert "must be a text such as '127.0.0.1:9600'" in said


def test_the_largest_waste_comes_first(tree: Path) -> None:
    _, output, _ = execute(DUPLICATES, tree)
    wastes = [int(waste) for waste in re.findall(r"^\d+ copies of \d+ bytes, (\d+) wasted$", output, re.MULTILINE)]
    assert wastes == sorted(wastes, reverse=True)
    assert sum(wastes) == waste_in(output)


def test_what_cannot_be_read_is_named_and_skipped(tree: Path) -> None:
    secret = tree / "deep" / "er" / "secret"
    secret.write_bytes((tree / "a").read_bytes())
    secret.chmod(0)
    closed = tree / "closed"
    closed.mkdir()
    (closed / "inside").write_bytes((tree / "a").read_bytes())
    closed.chmod(0)
    try:
        code, output, said = execute("-c", AS_OTHERS, sys.executable, DUPLICATES, tree)
    finally:
        closed.chmod(0o700)
    assert code == 1
    assert str(secret) in said
    assert os.strerror(errno.EACCES) in said
    assert str(closed) in said
    (closed / "inside").unlink()
    secret.unlink()
    assert groups_in(output) == count(tree)[0]


def test_without_duplicates_the_exit_code_is_0(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
    code, output, said = execute(DUPLICATES, tmp_path)
    assert (code, said, groups_in(output), waste_in(output)) == (0, "", set(), 0)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    code, output, said = execute(DUPLICATES, tmp_path / name)
    assert (code, output) == (2, "")
    assert said.endswith(f"{tmp_path / name} is not a folder\n")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    code, output, said = execute("-c", AS_OTHERS, sys.executable, DUPLICATES, closed)
    closed.chmod(0o700)
    assert (code, output) == (2, "")
    assert said.endswith(f"{closed}: {os.strerror(errno.EACCES)}\n")


@pytest.mark.timeout(180)  # thousands of files read twice
def test_the_answer_on_pythons_own_library() -> None:
    """The demo as it runs without an argument. Bytecode may be written meanwhile, so it is not compared."""
    library = Path(sysconfig.get_path("stdlib"))
    code, output, _ = execute(DUPLICATES)
    groups, _, files = count(library)

    def lasting(found: set[frozenset[str]]) -> set[frozenset[str]]:
        kept = (frozenset(path for path in group if "__pycache__" not in path) for group in found)
        return {group for group in kept if len(group) > 1}

    assert code == (1 if groups else 0)
    assert lasting(groups_in(output)) == lasting(groups)
    assert files > 1000
    assert abs(files_in(output) - files) < files // 10


class Terminal:
    """A terminal of which we hold the other end."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.drawn = b""

    def read(self) -> bool:
        """Reads on; False if no draw follows."""
        try:
            piece = os.read(self._ours, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that
                raise
            piece = b""
        self.drawn += piece
        return bool(piece)

    def start(self, *argv: str | os.PathLike[str], stdout: int) -> "subprocess.Popen[bytes]":
        """Starts a program on this terminal."""
        program = subprocess.Popen(
            [sys.executable, *argv],
            stdin=self.theirs,
            stdout=stdout,
            stderr=self.theirs,
            env=environment() | {"TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(self.theirs)
        return program

    def close(self) -> None:
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.mark.serial
def test_on_a_terminal_it_draws_a_bar_and_a_table(tree: Path, terminal: Terminal) -> None:
    program = terminal.start(DUPLICATES, tree, stdout=terminal.theirs)
    while terminal.read():
        pass
    assert program.wait(LONG) == 1
    text = terminal.drawn.decode()
    assert "comparing" in text
    assert "wasted" in text
    assert "[bold]brackets[x]" in text
    assert "... and 8 more" in text  # a group shows three of its files
    assert re.search(rf"\({count(tree)[1]} bytes\) wasted", text)


@pytest.mark.serial
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_it_in_order(tmp_path: Path, terminal: Terminal, times: int) -> None:
    for number in range(400):  # sparse, so that only comparing them takes a while
        with (tmp_path / str(number)).open("wb") as file:
            file.truncate(16 << 20)
    program = terminal.start(DUPLICATES, tmp_path, stdout=subprocess.PIPE)
    with program:
        while b"comparing" not in terminal.drawn:
            assert terminal.read()
        for _ in range(times):
            program.send_signal(signal.SIGINT)
        while terminal.read():
            pass
        assert (program.wait(LONG), program.stdout and program.stdout.read()) == (130, b"")
    said = terminal.drawn.decode()
    stopped = re.search(r"stopped after comparing (\d+) of 400 files", said)
    assert stopped, said
    assert int(stopped[1]) < 400
    if times == 2 and "KeyboardInterrupt" in said:
        return  # it came before the loop had heard of the first, which ends the program at once
    assert "drain" in said
    assert "Traceback" not in said


def test_the_short_program_finds_the_same(tmp_path: Path) -> None:
    """The same job in thirty lines."""
    for number in range(100):
        (tmp_path / f"{number % 40} {number}").write_bytes(b"content %d" % (number % 40 + 10))
    (tmp_path / "link").symlink_to("0 0")
    code, output, said = execute(SHORT, tmp_path)
    assert (code, said) == (1, "")
    groups = [group.split("\n  = ") for group in re.split(r"\n(?!  = )", output.rstrip("\n"))]
    assert {frozenset(group) for group in groups} == count(tmp_path)[0]
    assert len(groups) == 40
