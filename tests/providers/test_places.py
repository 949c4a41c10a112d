"""Files that are added to, copied, moved and locked, and folders that vanish."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Effect, Timeout, errors, fs, gather
from tests.providers.support import error_of, names, same_error, within


async def test_append_adds_and_makes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for word in (b"one\n", bytearray(b"two\n"), b""):
        assert await fs.append(path, bytes(word)) is None
    assert path.read_bytes() == b"one\ntwo\n"
    await fs.append(path, b"three\n", durable=False)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    with pytest.raises(TypeError, match="takes bytes, not str"):
        fs.append(path, "text")  # type: ignore[arg-type]


async def test_what_is_appended_side_by_side_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"%04d" % number * 5000 + b"\n" for number in range(100)]
    await gather([fs.append(path, line, durable=False) for line in lines])
    assert sorted(path.read_bytes().splitlines(keepends=True)) == lines


async def test_a_cancelled_append_is_whole_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"x" * 3_000_000
    for number in range(20):
        path.write_bytes(b"before")
        task = asyncio.create_task(fs.append(path, data, durable=False))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert path.stat().st_size in (6, 6 + len(data))


async def test_copy_takes_content_and_permissions(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(5_000_000))
    source.chmod(0o640)
    for _ in range(2):
        await fs.copy(source, target)
        assert target.read_bytes() == source.read_bytes()
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        target.write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    await fs.copy(source, tmp_path / "link", durable=False)
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == source.read_bytes()
    assert names(tmp_path) == {"source", "target", "link"}


async def test_a_cancelled_copy_changes_nothing_or_all(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"new" * 4_000_000)
    for number in range(20):
        target.write_bytes(b"old")
        task = asyncio.create_task(fs.copy(source, target, durable=False))
        await asyncio.sleep(number * 0.0005)  # so that it is at another place each time
        task.cancel()
        await asyncio.wait([task])
        assert target.stat().st_size in (3, 12_000_000)
        assert names(tmp_path) == {"source", "target"}


@pytest.mark.parametrize(
    ("source", "target", "named"), [("none", "x", 0), ("file", "none/x", 1), (".", "x", 0), ("file", ".", 1)]
)
async def test_an_error_of_a_copy_names_its_side(tmp_path: Path, source: str, target: str, named: int) -> None:
    (tmp_path / "file").write_bytes(b"x")
    places = [tmp_path / source, tmp_path / target]
    with pytest.raises(OSError) as caught:
        await fs.copy(*places)
    assert caught.value.filename == str(places[named])
    assert names(tmp_path) == {"file"}


async def test_move_replaces_a_file_and_takes_folders(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    await fs.move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"a"
    (tmp_path / "folder").mkdir()
    await fs.move(tmp_path / "folder", tmp_path / "moved", durable=False)
    assert names(tmp_path) == {"b", "moved"}
    with pytest.raises(FileNotFoundError) as caught:
        await fs.move(tmp_path / "none", tmp_path / "b")
    theirs = error_of(lambda: os.rename(tmp_path / "none", tmp_path / "b"))
    assert same_error(caught.value, theirs)
    assert caught.value.filename2 == str(tmp_path / "b")


async def test_a_file_moves_to_another_file_system(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        shared = tmp_path  # one file system: a plain move
    source, target = tmp_path / "source", shared / f"mountain-move-{os.getpid()}"
    source.write_bytes(b"x" * 100_000)
    try:
        await fs.move(source, target)
        assert not source.exists()
        assert target.read_bytes() == b"x" * 100_000
    finally:
        target.unlink(missing_ok=True)


async def test_a_temporary_folder_vanishes(tmp_path: Path) -> None:
    async with fs.temporary("job-", folder=tmp_path) as path:
        assert os.path.basename(path).startswith("job-")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        await fs.mkdir(f"{path}/deep/er", parents=True)
        await fs.write_text(f"{path}/deep/file", "x")
    assert names(tmp_path) == set()
    with pytest.raises(KeyError):
        async with fs.temporary(folder=tmp_path):
            raise KeyError
    async with fs.temporary(folder=tmp_path) as path:
        await fs.remove(path, tree=True)  # which is no error at the end
    assert names(tmp_path) == set()
    async with fs.temporary() as path:
        assert os.path.isdir(path)
    assert not os.path.exists(path)


async def test_a_temporary_folder_vanishes_at_any_cancel(tmp_path: Path) -> None:
    async def work() -> None:
        async with fs.temporary(folder=tmp_path) as path:
            for number in range(20):
                await fs.write_bytes(f"{path}/{number}", b"x", durable=False)

    for turns in range(60):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # again, in the middle of its cleanup
        await asyncio.wait([task])
        assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fs.temporary("a/b"), "not a path"),
        (lambda: fs.temporary().__enter__(), "async with"),  # type: ignore[attr-defined]
        (lambda: fs.lock("x").__enter__(), "async with"),  # type: ignore[attr-defined]
    ],
)
def test_blocks_that_are_written_wrongly(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, errors.ConfigError), match=message):
        make()


async def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    path, inside = tmp_path / "lock", 0

    async def work() -> None:
        nonlocal inside
        async with fs.lock(path):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    with within(5):
        await asyncio.gather(*(work() for _ in range(10)))
    async with fs.lock(path, shared=True), fs.lock(path, shared=True):
        with pytest.raises(BlockingIOError) as caught:
            async with fs.lock(path, wait=False):
                raise AssertionError("it was taken")
        assert (caught.value.errno, caught.value.filename) == (errno.EWOULDBLOCK, str(path))
    async with fs.lock(path, wait=False):
        code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)
        assert b"BlockingIOError" in other.stderr


async def test_a_wait_for_a_lock_is_cancelled_and_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    async def wait() -> None:
        async with fs.lock(path):
            raise AssertionError("it was taken")

    async with fs.lock(path):
        waiting = [asyncio.create_task(wait()) for _ in range(8)]
        await asyncio.sleep(0.02)  # so that each waits
        with within(1):
            assert await fs.append(tmp_path / "other", b"x") is None  # the threads are not used up
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
    async with asyncio.timeout(1):
        async with fs.lock(path):
            pass


async def test_a_lock_that_is_taken_as_its_taker_is_cancelled_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    async def take() -> None:
        async with fs.lock(path):
            await asyncio.sleep(0)

    for turns in range(30):
        task = asyncio.create_task(take())
        for _ in range(turns % 6):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(1):
            async with fs.lock(path):
                pass


async def test_policies_stand_around_them(tmp_path: Path) -> None:
    made: list[Effect[None]] = [
        fs.append(tmp_path / "file", b"x"),
        fs.copy(tmp_path / "file", tmp_path / "copy"),
        fs.move(tmp_path / "copy", tmp_path / "moved"),
    ]
    for effect in made:
        assert await effect.under(Timeout(5)) is None
    assert names(tmp_path) == {"file", "moved"}
    assert repr(made[1]).startswith("<Effect fs.copy")
