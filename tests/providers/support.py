"""Support for the tests of files."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mountain_runtime import _native, fs

#: Root passes every check of permissions.
ROOT_USER = os.geteuid() == 0
#: A time that nothing here needs, in seconds: a call that takes longer hangs.
SOON = 1.0


def names(folder: Path) -> set[str]:
    """The folder's entries, hidden files too."""
    return set(os.listdir(folder))


def error_of(call: Callable[[], object]) -> OSError:
    """The error that a function of the standard library raises."""
    try:
        call()
    except OSError as error:
        return error
    raise AssertionError("it did not fail")


def same_error(ours: OSError, theirs: OSError) -> bool:
    """Whether two errors tell the same, the file's name included."""
    about = [(type(error), error.errno, error.strerror, os.fspath(error.filename)) for error in (ours, theirs)]
    return about[0] == about[1]


@contextmanager
def within(seconds: float = SOON) -> Iterator[None]:
    """Fails if the body takes longer."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"{took:.2f} s"


async def walked(root: str | os.PathLike[str], **options: bool) -> dict[str, fs.Entry]:
    """A walk's entries, by their path."""
    found = [entry async for entry in fs.walk(root, **options)]
    by_path = {entry.path: entry for entry in found}
    assert len(by_path) == len(found), "something was yielded twice"
    return by_path


def below(root: Path, found: dict[str, fs.Entry]) -> set[str]:
    """The paths of a walk, relative to its root."""
    return {os.path.relpath(path, root) for path in found}


def gauge(name: str) -> int:
    """One of the process's gauges."""
    return _native.statistics()[name]


#: Linux takes any byte in a name; macOS wants UTF-8.
ANY_BYTES = sys.platform == "linux"


def threads(name: str) -> int:
    """The threads of this process with that name. Names are known to Linux only; elsewhere all threads count."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return threading.active_count()
    found = 0
    for task in tasks.iterdir():
        try:
            found += (task / "comm").read_text().startswith(name)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


async def no_more_threads(name: str, before: int, seconds: float = 1) -> None:
    """Waits until there are no more of them than before: threads end when they look up next."""
    async with asyncio.timeout(seconds):
        while threads(name) > before:
            await asyncio.sleep(0.001)
