"""Support for the tests of processes. The children are real, and so is the time they take."""

import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mountain_runtime import _native, process

#: The interpreter, for children that need more than a shell.
PYTHON = sys.executable
#: A time that nothing here needs, in seconds.
SOON = 5.0


def lives(pid: int) -> bool:
    """Whether that process runs. One that has ended and waits for a reaper, which is not us, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def eventually(condition: Callable[[], bool], seconds: float = SOON) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def zombies() -> list[int]:
    """Children of this process that have ended and were not reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] == "Z" and int(fields[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/dev/fd"))


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fails if the body leaves a zombie, a group or a descriptor behind."""
    await process.run("true")  # what there is once a loop and once a process
    open_before = descriptors()
    yield
    assert eventually(lambda: zombies() == []), zombies()
    assert _native.sweep_groups() == []
    gc.collect()  # a loop that was closed in the body has a descriptor of ours until then
    assert eventually(lambda: descriptors() <= open_before), (descriptors(), open_before)


@contextmanager
def within(seconds: float = SOON) -> Iterator[None]:
    """Fails if the body takes longer."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"{took:.2f} s"


def shell(script: str) -> tuple[str, str, str]:
    """A command line that runs it."""
    return "/bin/sh", "-c", script


def pids(path: Path, count: int) -> list[int]:
    """The numbers that children have written to a file, a line each."""

    def there() -> bool:
        return path.exists() and path.read_text(encoding="utf-8").count("\n") >= count

    assert eventually(there)
    return [int(line) for line in path.read_text(encoding="utf-8").split()]


__all__ = [
    "PYTHON",
    "SOON",
    "descriptors",
    "eventually",
    "lives",
    "nothing_left",
    "pids",
    "shell",
    "within",
    "zombies",
]
