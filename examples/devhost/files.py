"""Commands of files: read, written, opened, searched, watched."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from state import State
from workspace import Workspace

from mountain_runtime import Timeout, effect, fs, need, search, stream


@dataclass(frozen=True, slots=True)
class Found:
    path: str
    #: From 1 on.
    line: int
    #: In bytes, from 0 on.
    column: int
    text: str


@effect(Timeout(10))
async def read(path: str, *, workspace: Workspace = need(Workspace)) -> str:
    """The text of a file."""
    return await workspace.files.read_text(path)


@effect(Timeout(10))
async def write(path: str, text: str, *, workspace: Workspace = need(Workspace)) -> None:
    """Replaces a file, or makes it. Readers see the old text or the new."""
    await workspace.files.write_text(path, text)


@effect(Timeout(10))
async def open_file(path: str, *, workspace: Workspace = need(Workspace), state: State = need(State)) -> str:
    """The text of a file, which is the first of those opened lately from then on."""

    def change(values: dict[str, Any]) -> None:
        values["recent"] = [path, *(each for each in values.get("recent", []) if each != path)][:20]

    text = await workspace.files.read_text(path)
    await state.change(change)
    return text


@stream(Timeout(60))
async def lines(
    pattern: str, include: tuple[str, ...] = (), *, workspace: Workspace = need(Workspace)
) -> AsyncIterator[Found]:
    """The lines that match a regular expression, as they are found."""
    async with search.lines(pattern, workspace.root, include=include) as matches:
        async for match in matches:
            path = match.path.removeprefix(f"{workspace.root}/")
            yield Found(path, match.line, match.column, match.text.encode(errors="replace").decode())


@stream
async def watch(existing: bool = False, *, workspace: Workspace = need(Workspace)) -> AsyncIterator[list[fs.Change]]:
    """Changes, in batches; with `existing`, what is there comes first."""
    async with workspace.changes(existing=existing) as batches:
        async for batch in batches:
            yield list(batch)
