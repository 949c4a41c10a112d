"""Changes that a test tells, without a file system."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractContextManager
from types import TracebackType

from .. import _native
from .._native import Change
from .._tasks.pretended import tree, trees
from ..errors import ConfigError

__all__ = ["Watched", "watch"]


class Watched:
    """A tree that a test speaks for."""

    def __init__(self, existing: Iterable[Change]) -> None:
        self._existing = tuple(existing)
        self._told: list[tuple[Change, ...]] = []
        self._error: BaseException | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self, *changes: Change) -> None:
        """Tells a batch to each watch of the tree. One that begins later gets it, too, after those before it."""
        self._told.append(changes)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Each watch raises this once it has all that was told."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def _changes(self, existing: bool) -> AsyncGenerator[tuple[Change, ...], None]:
        if existing:
            yield self._existing
        at = 0
        while True:
            while at < len(self._told):
                at += 1
                yield self._told[at - 1]
            if self._error is not None:
                raise self._error
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)


def watch(root: str | os.PathLike[str], *, existing: Iterable[Change] = ()) -> AbstractContextManager[Watched]:
    """In the block, `fs.watch(root)` tells what the test tells, batch by batch as it is told: no thread, no waits.

    The tree need not exist. `existing` is what a watch with `existing=True` tells first. For one loop: `tell` is called
    on that of the watches. Raises ConfigError if the root is watched by a test already.
    """
    _native.needs("watch")
    return _Watching(tree(root), Watched(existing))


class _Watching(AbstractContextManager[Watched]):
    def __init__(self, root: str, watched: Watched) -> None:
        self._root, self._watched = root, watched

    def __enter__(self) -> Watched:
        if self._root in trees:
            raise ConfigError(f"testing.watch({self._root!r}): a test speaks for it already")
        trees[self._root] = self._watched._changes
        return self._watched

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        del trees[self._root]
