"""Folders and new contents whose block ends in an odd way: with its loop, in another folder, with no rights left."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import fs

from .support import names


@pytest.mark.parametrize("kind", ["temporary", "rooted", "open"])
def test_a_block_that_is_dropped_with_its_loop_leaves_nothing(tmp_path: Path, kind: str) -> None:
    blocks: dict[str, Callable[[], Any]] = {
        "temporary": lambda: fs.temporary(folder=tmp_path),
        "rooted": lambda: fs.rooted(tmp_path).temporary(),
        "open": lambda: fs.open(tmp_path / "file", "w"),
    }

    async def hold(entered: asyncio.Event) -> None:
        async with blocks[kind]():
            entered.set()
            await asyncio.Event().wait()

    async def begin() -> "asyncio.Task[None]":
        entered = asyncio.Event()
        task = asyncio.create_task(hold(entered))
        await entered.wait()
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    loop.close()
    assert names(tmp_path)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, loop
    gc.collect()
    assert names(tmp_path) == set()


async def test_the_end_may_come_in_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    async with fs.temporary(folder="."):
        os.chdir("other")
    os.chdir(tmp_path)
    async with fs.open("file", "w") as file:
        await file.write(b"new")
        os.chdir("other")
    assert names(tmp_path) == {"other", "file"}
    async with fs.open(tmp_path / "other/file", "w") as file:
        await file.write(b"new")
        os.rename(tmp_path / "other", tmp_path / "moved")
    assert names(tmp_path / "moved") == {"file"}


async def test_it_is_removed_whatever_rights_are_left_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    async with fs.temporary(folder=tmp_path) as folder:
        below = Path(folder, "a/b/c")
        below.mkdir(parents=True)
        (below / "file").touch()
        for path in (below, below.parent, below.parent.parent, Path(folder)):
            path.chmod(0)
    assert names(tmp_path) == set()


async def test_errors_about_folders_and_roots_say_what_to_write(tmp_path: Path) -> None:
    folder, file, full = tmp_path / "folder", tmp_path / "file", tmp_path / "full"
    file.touch()
    folder.mkdir()
    (full / "x").mkdir(parents=True)
    wrong: list[tuple[Awaitable[object], str]] = [
        (fs.remove(folder), r"fs\.remove\(path, tree=True\) removes a folder"),
        (fs.copy(folder, tmp_path / "new"), r"go through a folder with fs\.walk\(\)"),
        (fs.copy(file, folder), "the target is the file's new path"),
        (fs.move(file, folder), "the target is the file's new path"),
        (fs.move(folder, full), "move it to a new name"),
        (fs.rooted(tmp_path).read_text("../x"), r"it leads out of the root.*'\.\./x'"),
    ]
    for call, way in wrong:
        with pytest.raises(OSError, match=way):
            await call
