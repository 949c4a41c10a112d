"""Support for the tests of watches."""

import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mountain_runtime import Timeout, fs

#: Seconds of quiet; short, so that tests are.
SETTLE = 0.01
#: Seconds in which any change must be told.
SOON = 10.0


class Watching:
    """A watch that is in place, and what it told."""

    def __init__(self, root: str | os.PathLike[str], batches: AsyncIterator[tuple[fs.Change, ...]]) -> None:
        self.root, self._batches = root, batches

    async def batch(self) -> tuple[fs.Change, ...]:
        """The next batch."""
        return await anext(self._batches)

    async def told(self) -> set[tuple[str, str]]:
        """The next batch: the path below the root, and the kind."""
        return {(os.path.relpath(change.path, self.root), change.kind) for change in await self.batch()}

    async def until(self, path: str) -> list[fs.Change]:
        """All changes up to one of this path below the root."""
        found: list[fs.Change] = []
        while not any(change.path == os.path.join(self.root, path) for change in found):
            found += await self.batch()
        return found


@asynccontextmanager
async def watching(root: str | os.PathLike[str], *, settle: float = SETTLE, **options: bool) -> AsyncIterator[Watching]:
    """A watch that is in place when the block begins."""
    changes = fs.watch(root, settle=settle, existing=True, **options).under(Timeout(SOON))
    async with changes as batches:
        await anext(batches)
        yield Watching(root, batches)


def held() -> tuple[int, int]:
    """The inotify queues, and the threads of watches, that this process has."""
    queues = threads = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            queues += os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify"
        except FileNotFoundError:
            pass  # the fd of the listing
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as name:
                threads += name.read().startswith("mountain-watch")
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
    return queues, threads


def let_go(within: float = 5.0) -> float:
    """Waits until no watch holds anything: the seconds that it took."""
    began = time.monotonic()
    while held() != (0, 0):
        assert time.monotonic() - began < within, (held(), threading.enumerate())
        time.sleep(0.001)  # a thread of the engine's ends by itself
    return time.monotonic() - began
