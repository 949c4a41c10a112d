"""Walks: what they yield, what they skip, and that they stop."""

import asyncio
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mountain_runtime import fs
from tests.providers.support import ANY_BYTES, below, error_of, names, same_error, walked, within


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files in some folders, one of them hidden, one left out by rules."""
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "empty").mkdir()
    for name in ("one", "a/two", "a/b/three", ".hidden", "a/noise.log"):
        (root / name).write_text(name)
    (root / ".gitignore").write_text("*.log\n")
    (root / "link").symlink_to("one")
    (root / "folder link").symlink_to("a")
    (root / "dangling").symlink_to("nowhere")
    return root


ALL = {"a", "a/b", ".git", "empty", "one", "a/two", "a/b/three", ".hidden", "a/noise.log", ".gitignore"} | {
    "link",
    "folder link",
    "dangling",
}


def mountain_threads() -> int:
    """The threads of this process that walk. Their names are known to Linux only; elsewhere all threads count."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return threading.active_count()
    found = 0
    for task in tasks.iterdir():
        try:
            found += (task / "comm").read_text().startswith("mountain-walk")
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


async def test_everything_below_the_root_is_yielded_once(tree: Path) -> None:
    found = await walked(tree)
    assert below(tree, found) == ALL
    for path, entry in found.items():
        real = os.lstat(path)
        assert entry.size == real.st_size
        assert entry.modified == pytest.approx(real.st_mtime, abs=1e-6)
        assert entry.is_symlink == os.path.islink(path)
        assert entry.is_file == (os.path.isfile(path) and not entry.is_symlink)
        assert entry.is_dir == (os.path.isdir(path) and not entry.is_symlink)
        assert entry == await fs.stat(path, follow_symlinks=False)


async def test_paths_begin_with_the_root_as_it_was_given(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert set(await walked("tree")) == {f"tree/{name}" for name in ALL}
    monkeypatch.chdir(tree)
    assert set(await walked(".")) == {f"./{name}" for name in ALL}
    (tree / "-").mkdir()
    (tree / "-" / "dash").touch()
    assert set(await walked("-")) == {"-/dash"}


async def test_ignore_files(tree: Path) -> None:
    assert below(tree, await walked(tree, ignore_files=True)) == ALL - {"a/noise.log"}
    (tree / "a" / ".ignore").write_text("b/\n")
    assert below(tree, await walked(tree, ignore_files=True)) == ALL - {"a/noise.log", "a/b", "a/b/three"} | {
        "a/.ignore"
    }


async def test_links_are_followed_when_asked(tree: Path) -> None:
    found = await walked(tree, follow_symlinks=True)
    assert below(tree, found) == ALL | {f"folder link/{name}" for name in ("b", "two", "b/three", "noise.log")}
    link, folder, dangling = (found[str(tree / name)] for name in ("link", "folder link", "dangling"))
    assert (link.is_symlink, link.is_file, link.size) == (True, True, len("one"))
    assert (folder.is_symlink, folder.is_dir) == (True, True)
    assert (dangling.is_symlink, dangling.is_file, dangling.is_dir) == (True, False, False)


async def test_a_file_as_the_root_is_yielded_itself(tree: Path) -> None:
    assert set(await walked(tree / "one")) == {str(tree / "one")}
    assert set(await walked(tree / "empty")) == set()


@pytest.mark.parametrize("name", ["missing", "one/below", "loop"])
async def test_a_root_that_cannot_be_walked_is_an_error(tree: Path, name: str) -> None:
    (tree / "loop").symlink_to("loop")
    root = tree / name
    with pytest.raises(OSError) as caught:
        await walked(root)
    assert same_error(caught.value, error_of(lambda: os.stat(root)))


async def test_odd_files_and_circular_links(tmp_path: Path) -> None:
    """P7: the walk ends soon, and every name that it yields can be opened."""
    contents = {
        b"nul": b"a\0b",
        b"latin-1": "na\u00efve".encode("latin-1"),
        b"new\nline": b"x",
        b" ": b"y",
        b"-rf": b"z",
    }
    if ANY_BYTES:
        contents |= {b"invalid \xff\xfe": b"odd", b"latin-\xe4": b"odd too"}
    for name, content in contents.items():
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    deep = tmp_path / "one" / "two"
    deep.mkdir(parents=True)
    (deep / "up").symlink_to("../..", target_is_directory=True)
    (deep / "here").symlink_to(".", target_is_directory=True)
    (tmp_path / "ping").symlink_to("pong")
    (tmp_path / "pong").symlink_to("ping")
    for follow in (False, True):
        with within(1):
            found = await walked(tmp_path, follow_symlinks=follow)
        files = [entry for entry in found.values() if entry.is_file]
        assert len(files) == len(contents)
        for entry in files:
            assert entry.path == str(tmp_path / os.path.basename(entry.path))
            assert await fs.read_bytes(entry.path) == contents[os.fsencode(os.path.basename(entry.path))]
            with open(entry.path, "rb") as file:
                assert len(file.read()) == entry.size


async def test_a_large_tree_is_walked_whole_by_a_slow_consumer(tmp_path: Path) -> None:
    """More entries than the walk keeps ready: it must wait, and lose none."""
    for folder in range(60):
        (tmp_path / str(folder)).mkdir()
        for file in range(150):
            (tmp_path / str(folder) / str(file)).touch()
    found = 0
    async for _ in fs.walk(tmp_path):
        found += 1
        if found % 1000 == 0:
            await asyncio.sleep(0.002)  # slower than the walk, so that its room fills up
    assert found == 60 + 60 * 150


async def test_leaving_a_walk_early_stops_it(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / str(folder)).mkdir()
        for file in range(100):
            (tmp_path / str(folder) / str(file)).touch()
    before = mountain_threads()
    async with aclosing(fs.walk(tmp_path)) as walk:  # type: ignore[type-var]
        async for _ in walk:
            assert mountain_threads() > before or not Path("/proc").exists()
            break
    await no_more_threads_than(before)
    async for _ in fs.walk(tmp_path):
        break
    gc.collect()
    await no_more_threads_than(before)

    walk = fs.walk(tmp_path)
    task = asyncio.create_task(first_of_many(walk))
    await asyncio.sleep(0.005)  # so that it has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task, walk
    gc.collect()
    await no_more_threads_than(before)


async def first_of_many(walk: AsyncIterator[fs.Entry]) -> None:
    async for _ in walk:
        await asyncio.get_running_loop().create_future()


async def no_more_threads_than(before: int) -> None:
    async with asyncio.timeout(1):
        while mountain_threads() > before:
            await asyncio.sleep(0.001)  # threads end when they look up next


async def test_a_walk_that_nobody_begins_costs_nothing(tmp_path: Path) -> None:
    before = mountain_threads()
    walk = fs.walk(tmp_path / "missing")
    assert mountain_threads() == before
    del walk


async def test_what_cannot_be_read_is_skipped_and_logged(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No user can walk a circle, root neither."""
    (tree / "empty" / "circle").symlink_to("..", target_is_directory=True)
    with caplog.at_level(logging.DEBUG, logger="mountain_runtime"):
        found = await walked(tree, follow_symlinks=True)
    assert str(tree / "one") in found
    assert str(tree / "empty" / "circle" / "one") not in found
    skipped = [record for record in caplog.records if record.name.startswith("mountain_runtime")]
    assert any("circle" in record.getMessage() for record in skipped)


async def test_walks_side_by_side(tree: Path) -> None:
    found = await asyncio.gather(*(walked(tree) for _ in range(20)))
    assert [below(tree, one) for one in found] == [ALL] * 20
    assert names(tree) == {name for name in ALL if "/" not in name}
