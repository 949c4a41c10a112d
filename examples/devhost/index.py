"""The index: the paths of the checkout, kept up to date by a watch."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from workspace import Workspace

from mountain_runtime import effect, need


class Index:
    """Every path of the checkout that git does not ignore; folders, too."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._paths: set[str] = set()
        #: Set when it has what was there at the start.
        self.ready = asyncio.Event()

    async def follow(self) -> None:
        """Replays the changes."""
        async with self._workspace.changes(existing=True) as batches:
            async for batch in batches:
                for change in batch:
                    if change.kind == "overflow":
                        await self._look_again(change.path)
                    elif change.kind == "removed":
                        self._paths.discard(change.path)
                    else:
                        self._paths.add(change.path)
                if not self.ready.is_set():
                    await self._look_again(".")  # of a large tree, what is there comes in several batches
                    self.ready.set()

    async def _look_again(self, folder: str) -> None:
        found = {path async for path in self._workspace.walk(folder)}
        below = "" if folder == "." else f"{folder}/"
        self._paths = {path for path in self._paths if not path.startswith(below)} | found

    def find(self, text: str, most: int) -> list[str]:
        """The paths with all words of the text in them, the shortest first."""
        words = text.lower().split()
        found = [path for path in self._paths if all(word in path.lower() for word in words)]
        return sorted(found, key=lambda path: (len(path), path))[:most]


@asynccontextmanager
async def open_index(workspace: Workspace = need(Workspace)) -> AsyncGenerator[Index]:
    """The index, complete. A watch that fails ends the service, and the host is no longer ready."""
    index = Index(workspace)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(index.follow())
        await index.ready.wait()
        yield index
        following.cancel()


@effect
async def find(text: str, most: int = 100, *, index: Index = need(Index)) -> list[str]:
    """Paths by words that they contain."""
    return index.find(text, most)
