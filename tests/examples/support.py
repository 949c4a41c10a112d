"""Support for the tests of the examples: running their programs, and counting apart from them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DUPLICATES = ROOT / "examples" / "duplicates" / "main.py"
BATCH = ROOT / "examples" / "batch" / "main.py"
CRAWLER = ROOT / "examples" / "crawler" / "main.py"
GATEWAY = ROOT / "examples" / "gateway" / "main.py"
THUMBNAILS = ROOT / "examples" / "thumbnails" / "main.py"
FLAKY_API = ROOT / "examples" / "flaky_api" / "main.py"
#: Programs as users write them.
PROGRAMS = Path(__file__).parent / "programs"
SHORT = PROGRAMS / "short_duplicates.py"
#: Has the module that sends a program's requests to servers on this machine.
REDIRECT = Path(__file__).parent / "redirect"
#: A program's patience, in seconds: five times what the slowest one needs on a slow machine.
LONG = 50

#: Root may read everything. This gives that up for the program that follows: a file without permissions is then closed.
AS_OTHERS = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
"""

Groups = set[frozenset[str]]


def environment(hosts: Mapping[str, int] | None = None) -> dict[str, str]:
    """Ours, in UTF-8, without what would make rich believe in a terminal. `hosts`: which host is which of our ports."""
    kept = {
        name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"}
    }
    redirection = {} if hosts is None else {"PYTHONPATH": str(REDIRECT), "REDIRECTED_HOSTS": json.dumps(hosts)}
    return kept | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"} | redirection


def start(
    *argv: str | os.PathLike[str], cwd: Path | None = None, hosts: Mapping[str, int] | None = None
) -> "subprocess.Popen[str]":
    """Starts a Python program, with its output to be read as text."""
    return subprocess.Popen(
        [sys.executable, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=environment(hosts),
        cwd=cwd,
    )


def finish(program: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """The exit code, the output, and what was said beside it."""
    try:
        output, said = program.communicate(timeout=LONG)
    except subprocess.TimeoutExpired:
        program.kill()
        output, said = program.communicate()
        raise AssertionError(f"it did not end\n{output}\n{said}") from None
    # On a busy machine another program's turn counts as the loop's. What holds a loop up has tests of its own.
    said = re.sub(r"effect '[^']*' held its event loop for [^\n]*\n", "", said)
    return program.returncode, output, said


def execute(
    *argv: str | os.PathLike[str], cwd: Path | None = None, hosts: Mapping[str, int] | None = None
) -> tuple[int, str, str]:
    """Runs a Python program to its end."""
    return finish(start(*argv, cwd=cwd, hosts=hosts))


def interrupt(program: "subprocess.Popen[str]", when: Callable[[], bool]) -> tuple[int, str, str]:
    """Sends SIGINT as soon as `when` says so."""
    until(when, program)
    program.send_signal(signal.SIGINT)
    return finish(program)


def until(when: Callable[[], bool], program: "subprocess.Popen[str]") -> None:
    """Waits for `when`, as long as the program runs."""
    end = time.monotonic() + LONG
    while not when():
        assert program.poll() is None, f"it ended before that\n{program.communicate()}"
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.002)  # the program is another process: there is nothing to wait on


@contextmanager
def printing(program: "subprocess.Popen[str]") -> Iterator[list[str]]:
    """The lines of its output as they come; all of them after the block."""
    lines: list[str] = []
    assert program.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(program.stdout,))
    reader.start()
    try:
        yield lines
    finally:
        reader.join(LONG)


def workers_of(pid: int) -> dict[int, str]:
    """The worker processes of a program, with their states: `R` for one that computes."""
    return {each: state for each, (parent, state) in processes(b"pools._worker").items() if parent == pid}


def workers_on(folder: Path) -> dict[int, str]:
    """The workers on a Ray node that was started in a folder, with their states: `R` where a thread of one computes."""
    nodes = processes(b"raylet/raylet", os.fsencode(folder))
    return {each: state for each, (parent, state) in processes(b"ray::Actor").items() if parent in nodes}


def processes(*words: bytes) -> dict[int, tuple[int, str]]:
    """Processes with these words in their command lines: the parent of each, and `R` where a thread of it computes."""
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if all(word in command for word in words):
                about = [file.read_text().rpartition(")")[2].split() for file in folder.glob("task/*/stat")]
                states = {state for state, *_ in about}
                found[int(folder.name)] = int(about[0][1]), "R" if "R" in states else min(states)
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return found


def without_notices(lines: Iterable[str]) -> list[str]:
    """Without what Ray prints among a program's lines, such as that a worker of it has died."""
    return [line for line in lines if "(raylet)" not in line]


def real_path(shown: str) -> str:
    """The items of which `shown` of the example was made."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), os.fsencode(shown))
    return os.fsdecode(raw)


def groups_in(output: str) -> Groups:
    """The groups that the example printed into a pipe."""
    groups: list[set[str]] = []
    for line in output.split("\n"):
        if re.fullmatch(r"\d+ copies of \d+ bytes, \d+ wasted", line):
            groups.append(set())
        elif line.startswith("  "):
            groups[-1].add(real_path(line[2:]))
    return {frozenset(group) for group in groups}


def waste_in(output: str) -> int:
    """The total that the example printed."""
    found = re.search(r"\((\d+) bytes\) wasted$", output.rstrip("\n"))
    assert found, output
    return int(found[1])


def count(root: Path) -> tuple[Groups, int, int]:
    """The groups of duplicates, the bytes they waste and the number of files, found by hashing all of one size."""
    by_size: defaultdict[int, list[tuple[str, tuple[int, int]]]] = defaultdict(list)
    files = 0
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names):
            about = os.lstat(path)
            if os.path.islink(path) or not os.path.isfile(path) or not about.st_size:
                continue
            files += 1
            by_size[about.st_size].append((path, (about.st_dev, about.st_ino)))
    groups: set[frozenset[str]] = set()
    wasted = 0
    for size, found in by_size.items():
        contents: defaultdict[str, defaultdict[tuple[int, int], list[str]]] = defaultdict(lambda: defaultdict(list))
        for path, inode in found if len(found) > 1 else ():
            try:
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except PermissionError:
                continue
            contents[content][inode].append(path)
        for same in contents.values():
            if len(same) > 1:
                groups.add(frozenset(min(names) for names in same.values()))
                wasted += size * (len(same) - 1)
    return groups, wasted, files
