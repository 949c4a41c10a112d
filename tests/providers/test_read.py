"""Reading: bytes, text, many files for one wake-up."""

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from mountain_runtime import Effect, Retry, Timeout, _native, errors, fs, gather
from tests.providers.support import error_of, same_error

SIZES = [0, 1, 4096, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 5_000_000]


def content(size: int) -> bytes:
    """Bytes in which every misplaced block shows."""
    return b"".join(n.to_bytes(4, "little") for n in range(size // 4 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_of_any_size_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content(size))
    read = await fs.read_bytes(path)
    assert type(read) is bytes
    assert read == content(size)
    assert hash(read) == hash(content(size))
    assert await fs.read_text(path, encoding="latin-1") == content(size).decode("latin-1")


async def test_a_large_read_makes_no_second_copy(tmp_path: Path) -> None:
    """Bytes that a worker filled are the result itself: it is the only reference, and no room is left over."""
    path = tmp_path / "file"
    path.write_bytes(content(5_000_000))
    read = await fs.read_bytes(path)
    await asyncio.sleep(0)  # its handle is let go when the loop's turn ends
    references = sys.getrefcount(read)
    assert references <= 2
    assert sys.getsizeof(read) == sys.getsizeof(b"") + len(read)


async def test_paths_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    with os.scandir(tmp_path) as entries:
        entry = next(entries)
    for path in ("file", str(tmp_path / "file"), tmp_path / "file", entry, "./file"):
        assert await fs.read_bytes(path) == b"x"


async def test_what_the_kernel_makes_up_is_read_whole(tmp_path: Path) -> None:
    """Its size is said to be 0."""
    if (version := Path("/proc/version")).exists():
        assert await fs.read_bytes(version) == version.read_bytes()
    ours, theirs = os.pipe()
    os.write(theirs, b"through a pipe")
    os.close(theirs)
    assert await fs.read_bytes(f"/dev/fd/{ours}") == b"through a pipe"
    os.close(ours)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-32-be", "shift_jis", "UTF_8"]
)
@pytest.mark.parametrize("times", [1, 100_000])
async def test_text_in_any_encoding(tmp_path: Path, encoding: str, times: int) -> None:
    text = ("\u6f22\u5b57\u3042 a\r\nb\n" if encoding == "shift_jis" else "na\u00efve a\r\nb\n") * times
    path = tmp_path / "file"
    path.write_bytes(text.encode(encoding))
    assert await fs.read_text(path, encoding=encoding) == text


@pytest.mark.parametrize("handler", ["replace", "ignore", "surrogateescape", "backslashreplace"])
async def test_text_that_is_not_in_its_encoding(tmp_path: Path, handler: str) -> None:
    path = tmp_path / "file"
    for raw in (b"a\xffb", b"\xff" * 100_000, b"x" * 100_000 + b"\xe2\x82"):
        path.write_bytes(raw)
        assert await fs.read_text(path, errors=handler) == raw.decode("utf-8", handler)
        with pytest.raises(UnicodeDecodeError) as caught:
            await fs.read_text(path)
        assert caught.value.object == raw
        assert raw[caught.value.start] in (0xFF, 0xE2)


async def test_an_encoding_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with pytest.raises(LookupError, match="no-such-codec"):
        await fs.read_text(path, encoding="no-such-codec")
    path.write_bytes(b"\xff")
    with pytest.raises(LookupError, match="no-such-handler"):
        await fs.read_text(path, errors="no-such-handler")


@pytest.mark.parametrize("read", [fs.read_bytes, fs.read_text, fs.hash])
async def test_errors_are_those_of_open(tmp_path: Path, read: Callable[[Path | str], Effect[object]]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in (
        tmp_path / "missing",
        tmp_path,
        tmp_path / "file" / "below",
        tmp_path / "loop",
        tmp_path / ("n" * 300),
    ):
        with pytest.raises(OSError) as caught:
            await read(path)
        assert same_error(caught.value, error_of(path.read_bytes))
    with pytest.raises(ValueError, match="null byte"):
        await read("a\0b")


async def test_many_files_come_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(500)]
    wanted = [content(number * 313 % 200_000 if number % 50 else 0) for number in range(500)]
    for path, data in zip(paths, wanted, strict=True):
        path.write_bytes(data)
    assert await fs.read_many(paths) == wanted
    assert await fs.read_many(iter(paths[::-1])) == wanted[::-1]
    assert await fs.read_many([paths[7]] * 3) == [wanted[7]] * 3
    assert await fs.read_many([]) == []


async def test_many_files_wake_the_task_once(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(200)]
    for path in paths:
        path.write_bytes(b"x" * 100_000)
    steps = 0

    class Counted:
        """Passes on what an effect yields, and counts the task's steps."""

        def __await__(self) -> Generator[object, None, list[bytes]]:
            nonlocal steps
            running = fs.read_many(paths).__await__()
            while True:
                steps += 1
                try:
                    waited_for = next(running)
                except StopIteration as end:
                    value: list[bytes] = end.value
                    return value
                yield waited_for

    async def counted() -> list[bytes]:
        return await Counted()

    read = await asyncio.create_task(counted())
    assert [len(data) for data in read] == [100_000] * 200
    assert steps == 2  # it started, and it was woken


async def test_one_missing_file_of_many_fails_the_read(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(100)]
    for path in paths[:-1]:
        path.write_bytes(b"x" * 1000)
    with pytest.raises(FileNotFoundError) as caught:
        await fs.read_many(paths)
    assert same_error(caught.value, error_of(paths[-1].read_bytes))


async def test_reading_is_native_under_policies_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for plain in (fs.read_bytes(path), fs.read_text(path), fs.read_many([path]), fs.hash(path), fs.stat(path)):
        guarded = plain.under(Timeout(10), Retry(on=FileNotFoundError, attempts=2), Timeout(5))
        assert _native.is_native(guarded)
        await guarded
    assert await gather([fs.read_bytes(path).under(Timeout(5)) for _ in range(100)]) == [b"x"] * 100


async def test_a_retry_waits_for_a_file_to_come(tmp_path: Path) -> None:
    path = tmp_path / "file"
    waiting = asyncio.create_task(fs.read_bytes(path).under(Timeout(10), Retry(on=FileNotFoundError, attempts=None)))
    await asyncio.sleep(0.02)  # so that some attempts fail
    await fs.write_bytes(path, b"at last")
    assert await waiting == b"at last"


async def test_what_fails_in_the_end_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError) as caught:
        await fs.read_bytes(path).under(Retry(on=OSError, attempts=3))
    assert caught.value.filename == str(path)
    assert any("3" in note for note in caught.value.__notes__)
    os.mkfifo(path)
    with pytest.raises(errors.TimedOut) as late:
        await fs.read_bytes(path).under(Timeout(0.02))
    assert (late.value.effect, late.value.policy, late.value.attempt) == ("fs.read_bytes", "Timeout(0.02)", 1)


async def test_building_a_read_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    effect = fs.read_bytes(path)
    path.write_bytes(b"later")
    assert await effect == b"later"
    path.write_bytes(b"again")
    assert await effect == b"again"
    assert "fs.read_bytes" in repr(effect)
