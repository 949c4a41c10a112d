"""fs.watch: what it tells, and what it leaves behind."""

import asyncio
import errno
import logging
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Retry, Timeout, constant, errors, fs

from .support import ROOT_USER
from .watching import SETTLE, SOON, let_go, watching


async def test_files_and_folders_that_come_change_and_go(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("1")
    async with watching(tmp_path) as watch:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/new").write_text("1")
        (tmp_path / "old").write_text("2")
        assert await watch.told() == {("a", "made"), ("a/b", "made"), ("a/b/new", "made"), ("old", "changed")}
        (tmp_path / "a").rename(tmp_path / "c")
        gone, made = {("a", "removed"), ("a/b", "removed")}, {("c", "made"), ("c/b", "made"), ("c/b/new", "made")}
        assert await watch.told() == gone | made | {("a/b/new", "removed")}
        (tmp_path / "c/b/new").write_text("2")
        (tmp_path / "old").unlink()
        assert await watch.told() == {("c/b/new", "changed"), ("old", "removed")}


async def test_existing_comes_first_and_nothing_is_an_empty_batch(tmp_path: Path) -> None:
    async with fs.watch(tmp_path, existing=True) as batches:
        assert await anext(batches) == ()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").touch()
    async with fs.watch(tmp_path, existing=True) as batches:
        told = await anext(batches)
    assert told == (fs.Change(tmp_path / "a", "made"), fs.Change(tmp_path / "a/x", "made"))
    async with fs.watch(tmp_path / "a/x", existing=True) as batches:
        assert await anext(batches) == (fs.Change(tmp_path / "a/x", "made"),)


async def test_a_watched_file_that_is_replaced_twice_changes_twice(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("0")
    async with watching(file) as watch:
        for content in "12":
            (tmp_path / "config.tmp").write_text(content)
            (tmp_path / "config.tmp").rename(file)
            assert await watch.batch() == (fs.Change(file, "changed"),)


async def test_an_atomic_write_is_one_change(tmp_path: Path) -> None:
    async with watching(tmp_path) as watch:
        await fs.write_text(tmp_path / "x", "1")
        assert await watch.told() == {("x", "made")}
        await fs.write_text(tmp_path / "x", "2")
        assert await watch.told() == {("x", "changed")}


async def test_a_link_to_a_file_changes_with_it(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "file").write_text("0")
    (tmp_path / "tree/link").symlink_to(tmp_path / "file")
    async with watching(tmp_path / "tree") as watch:
        for content in "123":
            (tmp_path / "file").write_text(content)
            assert await watch.told() == {("link", "changed")}
        await fs.write_text(tmp_path / "file", "4")
        assert await watch.told() == {("link", "changed")}


async def test_a_root_that_vanishes_is_awaited_as_long_as_it_can_come_back(tmp_path: Path) -> None:
    root = tmp_path / "above/root"
    root.mkdir(parents=True)
    (root / "x").touch()
    async with watching(root) as watch:
        await fs.remove(root, tree=True)
        assert await watch.told() == {(".", "removed"), ("x", "removed")}
        root.mkdir()
        assert await watch.told() == {(".", "made")}
        (root / "y").touch()
        assert await watch.told() == {("y", "made")}
        await fs.remove(tmp_path / "above", tree=True)
        assert await watch.told() == {(".", "removed"), ("y", "removed")}
        with pytest.raises(FileNotFoundError) as raised:
            await watch.batch()
        assert raised.value.filename == str(root)


@pytest.mark.parametrize("root", ["data", "data/sub", "far/sub"])
async def test_a_root_behind_a_link_is_what_the_link_leads_to(tmp_path: Path, root: str) -> None:
    """As a mounted configuration changes: a link is replaced at once, and the folder before may stay."""
    for version in "12":
        (tmp_path / version / "sub").mkdir(parents=True)
        (tmp_path / version / "sub" / version).touch()
    (tmp_path / "data").symlink_to("1")
    (tmp_path / "far").symlink_to(tmp_path / "data")
    below = "" if root.endswith("sub") else "sub/"
    async with watching(tmp_path / root) as watch:
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(tmp_path / "data")
        told = await watch.told()
        assert {(f"{below}1", "removed"), (f"{below}2", "made")} < told
        (tmp_path / "1/sub/1").write_text("old")
        (tmp_path / "2/sub/2").write_text("new")
        assert await watch.told() == {(f"{below}2", "changed")}
        (tmp_path / "data").unlink()
        assert (".", "removed") in await watch.told()
        if root == "data/sub":  # the folder that it was in is gone
            with pytest.raises(FileNotFoundError):
                await watch.batch()
            return
        (tmp_path / "data").symlink_to("1")
        assert (".", "made") in await watch.told()
        (tmp_path / "1/sub/1").write_text("again")
        assert (f"{below}1", "changed") in await watch.told()


async def test_names_that_are_exchanged_are_both_there(tmp_path: Path) -> None:
    """Each is told as gone after the other has its name."""
    import ctypes

    exchange = 2
    for name in ("a/in", "b/in"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = libc.renameat2
    async with watching(tmp_path) as watch:
        for one, other in (("a", "b"), ("b", "file")):
            paths = os.fsencode(tmp_path / one), os.fsencode(tmp_path / other)
            assert renameat2(-100, paths[0], -100, paths[1], exchange) == 0, os.strerror(ctypes.get_errno())
            assert {(one, "changed"), (other, "changed")} <= await watch.told()
        for folder in ("a/in", "file/in"):
            (tmp_path / folder / "x").touch()
            assert await watch.told() == {(f"{folder}/x", "made")}


async def test_what_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        async for _ in fs.watch(tmp_path / "missing"):
            pass
    assert raised.value.filename == str(tmp_path / "missing")
    with pytest.raises(ValueError, match="null byte"):
        async for _ in fs.watch("a\0b"):
            pass
    with pytest.raises(TypeError, match="not int"):
        fs.watch(3)  # type: ignore[arg-type]
    for settle in (-1, float("nan"), float("inf"), 1e9):
        with pytest.raises(errors.ConfigError, match="settle"):
            fs.watch(tmp_path, settle=settle)
    with pytest.raises(ValueError, match='kind="new"'):
        fs.Change("x", "new")  # type: ignore[arg-type]


async def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    async with watching(tmp_path) as watch:
        os.mkdir(folder)
        with open(folder + b"/\xc3(", "wb"):
            pass
        told = {(os.fsencode(change.path), change.kind) for change in await watch.batch()}
    assert told == {(folder, "made"), (folder + b"/\xc3(", "made")}


async def test_ignore_files_hold_as_in_a_walk(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    async with watching(tmp_path, ignore_files=True) as watch:
        (tmp_path / "build").mkdir()
        for name in ("x.log", "build/x", "x"):
            (tmp_path / name).touch()
        assert await watch.told() == {("x", "made")}


async def test_more_than_the_queue_holds_is_an_overflow_and_the_watch_goes_on(tmp_path: Path) -> None:
    """The queue has room for fs.inotify.max_queued_events; a stopped process does not read it."""
    code = (
        "import os, signal, sys\n"
        "os.kill(int(sys.argv[2]), signal.SIGSTOP)\n"
        "for _ in range(int(sys.argv[3])):\n"
        "    for name in 'ab':\n"
        "        os.close(os.open(f'{sys.argv[1]}/{name}', os.O_WRONLY | os.O_CREAT))\n"
        "os.kill(int(sys.argv[2]), signal.SIGCONT)\n"
    )
    size = Path("/proc/sys/fs/inotify/max_queued_events").read_text().strip()
    async with watching(tmp_path) as watch:
        argv = [sys.executable, "-c", code, os.fspath(tmp_path), str(os.getpid()), size]
        writer = await asyncio.create_subprocess_exec(*argv)
        assert await writer.wait() == 0
        told = [change async for batch in _until_overflow(watch) for change in batch]
        assert told[-1] == fs.Change(tmp_path, "overflow")
        (tmp_path / "after").touch()
        assert ("after", "made") in await watch.told()


async def _until_overflow(watch: Any) -> Any:
    while True:
        batch = await watch.batch()
        yield batch
        if any(change.kind == "overflow" for change in batch):
            return


async def test_none_of_many_is_lost_to_a_slow_consumer(tmp_path: Path) -> None:
    wanted = {os.fspath(tmp_path / f"{number % 10}/{number}") for number in range(1000)}
    for number in range(10):
        (tmp_path / str(number)).mkdir()
    async with watching(tmp_path) as watch:
        for path in wanted:
            with open(path, "w"):
                pass
        told: list[fs.Change] = []
        while len(told) < len(wanted):
            told += await watch.batch()
    assert {change.path for change in told} == wanted
    assert {change.kind for change in told} == {"made"}


async def test_it_is_a_stream_with_policies_that_runs_once_more(tmp_path: Path) -> None:
    root = tmp_path / "later"
    asyncio.get_running_loop().call_later(0.05, root.mkdir)  # real time: the system has no other
    awaited = Retry(on=FileNotFoundError, attempts=1000, backoff=constant(0.01))
    changes = fs.watch(root, settle=SETTLE, existing=True).under(Timeout(SOON), awaited)
    for _ in range(2):
        async with changes as batches:
            assert isinstance(await anext(batches), tuple)
    with pytest.raises(errors.TimedOut):
        async for _ in fs.watch(root).under(Timeout(0.02)):
            pass
    assert let_go() < 5


async def test_it_ends_with_its_block(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / str(number)).mkdir()
    took = []
    for _ in range(5):
        async with watching(tmp_path):
            pass
        took.append(let_go())
    assert min(took) < 0.1


async def test_a_cancel_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    dice = random.Random(7)
    for number in range(20):
        (tmp_path / str(number)).mkdir()

    async def use() -> None:
        async for _ in fs.watch(tmp_path, settle=0, existing=True):
            (tmp_path / str(dice.randrange(20)) / str(dice.random())).touch()

    for _ in range(100):
        task = asyncio.ensure_future(use())
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        await asyncio.sleep(dice.choice([0, 0, 0.001, 0.003]))  # real time: its thread is at work
        task.cancel()
        if dice.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert let_go() < 5


async def test_many_watches_at_once(tmp_path: Path) -> None:
    async def one(number: int) -> None:
        root = tmp_path / str(number)
        root.mkdir()
        async with watching(root) as watch:
            (root / "x").touch()
            assert await watch.told() == {("x", "made")}

    await asyncio.gather(*map(one, range(30)))
    let_go()


async def test_a_folder_that_may_not_be_read_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Root may read it."""
    (tmp_path / "x").mkdir(mode=0)
    with caplog.at_level(logging.WARNING):
        async with watching(tmp_path) as watch:
            (tmp_path / "y").touch()
            assert await watch.told() == {("y", "made")}
    refused = [record for record in caplog.records if os.strerror(errno.EACCES) in record.message]
    assert len(refused) == (not ROOT_USER)


def test_a_change_is_a_value() -> None:
    change = fs.Change("x", "made")
    assert change == fs.Change(Path("x"), "made") != fs.Change("x", "removed")
    assert len({change, fs.Change("x", "made")}) == 1
    assert repr(change) == "Change('x', 'made')"
    match change:
        case fs.Change(path, "made"):
            assert path == "x"
        case _:
            raise AssertionError
