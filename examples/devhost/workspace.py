"""The checkout: its files, which no path leaves, its git, and what changes in it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from mountain_runtime import ConcurrencyLimit, Effect, Timeout, fs, process, stream

#: Programs of git at work at once.
programs = ConcurrencyLimit(8, name="git")


class GitFailed(Exception):
    """Git has refused: its own words."""


class Workspace:
    """A checkout of git. Paths are relative to its root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files = fs.rooted(root)

    def git(self, *arguments: str) -> Effect[str]:
        """Runs git: what it writes. It takes no optional lock, so that one that is killed leaves none behind."""
        ran = process.run("git", "--no-optional-locks", *arguments, cwd=self.root, check=False, max_output=32 << 20)
        return ran.under(Timeout(20), programs).map(_written)

    @stream
    async def changes(self, *, existing: bool = False) -> AsyncIterator[tuple[fs.Change, ...]]:
        """Changes, in batches, without what git ignores and git's own; with `existing`, what is there first."""
        first = existing
        async with fs.watch(self.root, ignore_files=True, existing=existing) as batches:
            async for batch in batches:
                here = tuple(
                    fs.Change(path, change.kind)
                    for change in batch
                    if (path := self._relative(change.path)) is not None
                )
                if here or first:
                    yield here
                first = False

    async def walk(self, path: str) -> AsyncIterator[str]:
        """The paths below one, as `changes` has them."""
        with suppress(FileNotFoundError, NotADirectoryError):
            async for entry in fs.walk(Path(self.root, path), ignore_files=True):
                if (found := self._relative(entry.path)) is not None:
                    yield found

    def _relative(self, path: str) -> str | None:
        """None for what is git's own."""
        found = path.removeprefix(self.root).lstrip("/") or "."
        return None if found == ".git" or found.startswith(".git/") else found


def _written(done: process.Completed) -> str:
    if done.returncode != 0:
        raise GitFailed(done.stderr.decode(errors="replace").strip())
    return done.stdout.decode(errors="replace")


@asynccontextmanager
async def open_workspace(path: Path) -> AsyncGenerator[Workspace]:
    """The checkout that a folder belongs to. Raises GitFailed where there is none."""
    root = await Workspace(str(path)).git("rev-parse", "--show-toplevel")
    yield Workspace(root.removesuffix("\n"))
