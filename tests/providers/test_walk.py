"""Walks: what they yield, what they skip, and that they stop."""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mountain_runtime import fs
from mountain_runtime.errors import ConfigError
from tests.providers.support import (
    ANY_BYTES,
    below,
    error_of,
    names,
    no_more_threads,
    same_error,
    threads,
    walked,
    within,
)


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
    before = threads("mountain-walk")
    async with aclosing(fs.walk(tmp_path)) as walk:  # type: ignore[type-var]
        async for _ in walk:
            assert threads("mountain-walk") > before or not Path("/proc").exists()
            break
    await no_more_threads("mountain-walk", before)
    async for _ in fs.walk(tmp_path):
        break
    gc.collect()
    await no_more_threads("mountain-walk", before)

    walk = fs.walk(tmp_path)
    task = asyncio.create_task(first_of_many(walk))
    await asyncio.sleep(0.005)  # so that it has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task, walk
    gc.collect()
    await no_more_threads("mountain-walk", before)


async def first_of_many(walk: AsyncIterator[fs.Entry]) -> None:
    async for _ in walk:
        await asyncio.get_running_loop().create_future()


async def test_a_walk_that_nobody_begins_costs_nothing(tmp_path: Path) -> None:
    before = threads("mountain-walk")
    walk = fs.walk(tmp_path / "missing")
    assert threads("mountain-walk") == before
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


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "**/*",
        "a/*",
        "*/two",
        "**/*.log",
        "a/**/three",
        "?ne",
        "[o]ne",
        "a/b/three",
        "**/b/*",
        ".*",
        "none/*",
        "*/*/*",
    ],
)
async def test_a_glob_finds_what_pathlib_finds(tree: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Except below links to folders, which a walk follows only when it is asked to."""
    expected = {str(path.relative_to(tree)) for path in tree.glob(pattern) if tree / "folder link" not in path.parents}
    found = {entry.path: entry async for entry in fs.glob(pattern, tree)}
    assert below(tree, found) == expected
    monkeypatch.chdir(tree)
    assert {os.path.normpath(entry.path) async for entry in fs.glob(pattern)} == expected


async def test_a_glob_has_alternatives_and_rules(tree: Path) -> None:
    found = [entry.path async for entry in fs.glob("{one,a/{two,noise}*}", tree)]
    assert sorted(found) == [str(tree / name) for name in ("a/noise.log", "a/two", "one")]
    assert [entry.path async for entry in fs.glob("**/*.log", tree, ignore_files=True)] == []
    with pytest.raises(FileNotFoundError):
        await anext(fs.glob("*", tree / "missing"))


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "a//b", "[a", "{a"])
def test_what_is_no_glob_is_refused_where_it_is_written(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"fs\.glob"):
        fs.glob(pattern)
