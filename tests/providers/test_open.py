"""Files that are read and written in pieces."""

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import errors, fs
from tests.providers.support import error_of, names, same_error


async def test_a_file_is_read_in_pieces(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    (tmp_path / "file").write_bytes(data)
    async with fs.open(tmp_path / "file") as file:
        assert [len(piece) async for piece in file.chunks()] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]
        assert await file.read() == b""
        assert await file.seek(10) == 10
        assert await file.read(5) == data[10:15]
        assert file.tell() == 15
        assert await file.seek(-5, end=True) == len(data) - 5
        assert await file.read(100) == data[-5:]
        assert b"".join([piece async for piece in file.chunks(7)]) == b""
        assert repr(file) == f"<File {str(tmp_path / 'file')!r} position={len(data)}>"


async def test_a_new_content_takes_the_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    async with fs.open(path, "w") as file:
        for number in range(10):
            await file.write(b"%d" % number)
        await file.seek(0)
        assert await file.read(3) == b"012"
        await file.write(b"-")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"012-456789"
    assert path.stat().st_mode & 0o777 == 0o640
    async with fs.open(tmp_path / "new", "w", durable=False) as file:
        await file.write(b"x")
        await file.truncate(3)
    assert (tmp_path / "new").read_bytes() == b"x\0\0"
    assert names(tmp_path) == {"file", "new"}


@pytest.mark.parametrize("failure", [KeyError, asyncio.CancelledError])
async def test_a_block_that_fails_leaves_the_old_content(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(failure):
        async with fs.open(path, "w") as file:
            await file.write(b"new")
            raise failure
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


async def test_the_other_modes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with fs.open(path, "x") as file:
        await file.write(b"0123456789")
    with pytest.raises(FileExistsError):
        async with fs.open(path, "x"):
            raise AssertionError("it was made")
    async with fs.open(path, "r+") as file:
        await file.seek(2)
        await file.write(b"--")
    assert path.read_bytes() == b"01--456789"
    async with fs.open(path, "a") as file:
        assert file.tell() == 10
        await file.write(b"end")
        assert file.tell() == 13
    assert path.read_bytes() == b"01--456789end"
    async with fs.open(path) as file:
        with pytest.raises(OSError, match="Bad file descriptor"):
            await file.write(b"x")


@pytest.mark.parametrize(("name", "mode"), [("none", "r"), ("none", "r+"), ("none/below", "w"), ("file/below", "x")])
async def test_an_error_is_that_of_open(tmp_path: Path, name: str, mode: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        async with fs.open(tmp_path / name, mode):
            raise AssertionError("it was opened")
    assert same_error(caught.value, error_of(lambda: (tmp_path / name).open(mode + "b")))
    with pytest.raises(OSError) as caught:
        async with fs.open(tmp_path, mode):
            raise AssertionError("it was opened")
    assert same_error(caught.value, error_of(lambda: tmp_path.open(mode + "b")))
    assert names(tmp_path) == {"file"}


async def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Illegal seek"):
        async with fs.open(tmp_path / "pipe"):
            raise AssertionError("it was opened")


async def test_what_is_wrong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="mode='rb'"):
        fs.open("x", "rb")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        fs.open(5)  # type: ignore[arg-type]
    async with fs.open(tmp_path / "x", "w") as file:
        with pytest.raises(errors.ConfigError, match="size=0"):
            await file.read(0)
        with pytest.raises(TypeError, match="takes bytes, not str"):
            await file.write("text")  # type: ignore[arg-type]
        with pytest.raises(OSError, match="Invalid argument"):
            await file.seek(-1)
    for call in (file.read(), file.write(b"x"), file.seek(0), file.truncate(0)):
        with pytest.raises(ValueError, match="closed"):
            await call
    with pytest.raises(ValueError, match="closed"):
        file.tell()


async def test_a_cancelled_read_has_read_nothing(tmp_path: Path) -> None:
    data = os.urandom(4_000_000)
    (tmp_path / "file").write_bytes(data)
    got = b""
    async with fs.open(tmp_path / "file") as file:
        for turns in range(40):
            task = asyncio.create_task(file.read(100_000))
            for _ in range(turns % 4):
                await asyncio.sleep(0.0001)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                got += task.result()
            assert file.tell() == len(got)
        got += b"".join([piece async for piece in file.chunks()])
    assert got == data


async def test_a_cancel_at_any_moment_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"

    async def work() -> None:
        async with fs.open(path, "w", durable=False) as file:
            for _ in range(10):
                await file.write(b"new" * 100_000)

    path.write_bytes(b"old")
    async with fs.open(path):  # the loop has its descriptors now
        pass
    gc.collect()
    descriptors = len(os.listdir("/dev/fd"))
    for turns in range(60):
        path.write_bytes(b"old")
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # again, in the middle of its end
        await asyncio.wait([task])
        del task
        assert path.stat().st_size in (3, 3_000_000)
        assert names(tmp_path) == {"file"}
    gc.collect()
    assert len(os.listdir("/dev/fd")) <= descriptors


async def test_two_calls_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    for _ in range(50):
        async with fs.open(tmp_path / "file", "r+") as file:
            calls = (file.read(5), file.read(5), file.write(b"x"), file.seek(0), file.truncate(0))
            first, *others = await asyncio.gather(*calls, return_exceptions=True)
            assert first == b"01234", "the one that began first"
            assert all("one call at a time" in str(error) for error in others)
            assert all(type(error) is ValueError for error in others)
            assert await file.read() == b"56789"


async def test_two_reads_that_are_cancelled_skip_nothing(tmp_path: Path) -> None:
    data = os.urandom(1000)
    (tmp_path / "file").write_bytes(data)
    async with fs.open(tmp_path / "file") as file:
        got = b""
        for turn in range(40):
            readers = [asyncio.ensure_future(file.read(10)) for _ in range(2)]
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            time.sleep(0.001)  # the answers come to a loop that is busy
            for reader in readers[:: 1 if turn % 2 else -1]:
                reader.cancel()
            ended = await asyncio.gather(*readers, return_exceptions=True)
            got += b"".join(piece for piece in ended if isinstance(piece, bytes))
            assert file.tell() == len(got)
        assert got + await file.read() == data


async def test_more_than_there_is_takes_no_more_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    async with fs.open(path) as file:
        for size in (1 << 34, 1 << 40, 1 << 62):
            assert await file.read(size) == b"0123456789"
            assert await file.seek(0) == 0
        assert await file.seek(1 << 62) == 1 << 62
        assert await file.read() == b""
    path.write_bytes(os.urandom(9_000_000))
    async with fs.open(path) as file:
        assert await file.read(20_000_000) == path.read_bytes()
    async with fs.open("/proc/self/maps") as file:
        assert len(await file.read(1 << 40)) > 1000


async def test_a_file_whose_opening_was_cancelled_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"

    async def make(entered: list[bool]) -> None:
        async with fs.open(path, "x"):
            entered.append(True)

    for turns in range(60):
        entered: list[bool] = []
        task = asyncio.create_task(make(entered))
        for _ in range(turns % 4):
            await asyncio.sleep(0)
        time.sleep(0.001 * (turns % 3))  # the answer comes to a loop that is busy
        task.cancel()
        await asyncio.wait([task])
        assert path.exists() == bool(entered), turns
        path.unlink(missing_ok=True)


def test_a_child_leaves_the_new_content_of_its_parent_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    async def write() -> int:
        block = fs.open(path, "w")
        file = await block.__aenter__()
        await file.write(b"new")
        if (child := os.fork()) == 0:
            del file, block
            gc.collect()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        await block.__aexit__(None, None, None)
        return status

    assert asyncio.run(write()) == 0
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == {"file"}
