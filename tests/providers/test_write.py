"""Writing: old or new, whole, and nothing left over."""

import array
import asyncio
import errno
import os
import resource
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mountain_runtime import Timeout, _native, fs, gather
from tests.providers.support import error_of, names, same_error, within

BIG = 64 << 20


@pytest.fixture(params=[True, False], ids=["durable", "quick"])
def durable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


async def test_a_file_is_made_or_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"", b"x" * 3_000_000, b"shorter"):
        await fs.write_bytes(path, data, durable=durable)
        assert path.read_bytes() == data
        assert names(tmp_path) == {"file"}


async def test_text_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "file"
    text = "na\u00efve\r\nline\n"
    for encoding in ("utf-8", "utf-16", "latin-1"):
        await fs.write_text(path, text, encoding=encoding)
        assert path.read_bytes() == text.encode(encoding)
        assert await fs.read_text(path, encoding=encoding) == text


async def test_text_that_its_encoding_cannot_say_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(UnicodeEncodeError):
        await fs.write_text(path, "\u6f22", encoding="latin-1")
    with pytest.raises(UnicodeEncodeError):
        await fs.write_text(path, "\udcff")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", {"file"})


async def test_whatever_holds_bytes_is_written_as_it_was(tmp_path: Path) -> None:
    """A buffer that may change between the call and the write is copied at the call."""
    path = tmp_path / "file"
    for data in (bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"xaxbxcxd")[1::2], array.array("B", b"abcd")):
        effect = fs.write_bytes(path, data)  # type: ignore[arg-type]
        if isinstance(data, bytearray):
            data[:] = b"a longer one"
        await effect
        assert path.read_bytes() == b"abcd"
    for wrong in ("text", 5, None, [1, 2]):
        with pytest.raises(TypeError):
            await fs.write_bytes(path, wrong)  # type: ignore[arg-type]
    assert path.read_bytes() == b"abcd"


async def test_each_await_writes_once_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    effect = fs.write_bytes(path, b"x").under(Timeout(10))
    assert _native.is_native(effect)
    assert names(tmp_path) == set()
    await effect
    path.unlink()
    await effect
    assert path.read_bytes() == b"x"


@pytest.mark.usefixtures("umask")
async def test_mode_is_kept_and_a_new_file_has_what_open_gives(tmp_path: Path, durable: bool) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    (tmp_path / "opened").write_bytes(b"")
    await fs.write_bytes(tmp_path / "new", b"x", durable=durable)
    assert mode("new") == mode("opened") == 0o640
    for old in (0o600, 0o755, 0o666):
        (tmp_path / "new").chmod(old)
        await fs.write_bytes(tmp_path / "new", b"y", durable=durable)
        assert mode("new") == old


async def test_links_are_followed(tmp_path: Path, durable: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "link to link").symlink_to("link")
    for data in (b"made at its end", b"replaced there"):
        await fs.write_bytes(tmp_path / "link to link", data, durable=durable)
        assert (tmp_path / "real" / "file").read_bytes() == data
    assert names(tmp_path) == {"real", "link", "link to link"}
    assert names(tmp_path / "real") == {"file"}
    assert (tmp_path / "link").is_symlink()


async def test_a_reader_keeps_the_file_that_it_has_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        await fs.write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


async def test_errors_are_those_of_open_and_leave_nothing(tmp_path: Path, durable: bool) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    bad = ["missing/file", ".", "file/below", "loop", "n" * 300]
    before = names(tmp_path)
    for path in (tmp_path / name for name in bad):
        with pytest.raises(OSError) as caught:
            await fs.write_bytes(path, b"new", durable=durable)
        assert same_error(caught.value, error_of(partial(path.write_bytes, b"new")))
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == b"old"


async def test_a_failure_in_the_middle_of_a_write_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "file").write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            await fs.write_bytes(tmp_path / "file", b"n" * 4_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "file"))
    assert (names(tmp_path), (tmp_path / "file").read_bytes()) == ({"file"}, b"old")


async def test_a_cancelled_write_leaves_the_old_file(tmp_path: Path, durable: bool) -> None:
    """P5: wherever the cancel finds it, there is the old content or the new, and no other file.

    A cancel that comes when the new file has its name already changes nothing about that.
    """
    path = tmp_path / "file"
    new = b"n" * BIG
    for delay in (None, 0, 0.001, 0.003, 0.01, 0.03):
        path.write_bytes(b"old")
        task = asyncio.create_task(fs.write_bytes(path, new, durable=durable))
        if delay is not None:
            await asyncio.sleep(delay)  # how far the write has come is what differs
        task.cancel()
        await asyncio.wait([task])
        assert names(tmp_path) == {"file"}
        if delay is None:  # it had not begun
            assert task.cancelled()
            assert path.read_bytes() == b"old"
        else:
            assert path.read_bytes() in ((b"old", new) if task.cancelled() else (new,))


async def test_a_write_that_takes_too_long_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), within(5):
        await fs.write_bytes(tmp_path / "file", b"n" * BIG).under(Timeout(0.002))
    assert names(tmp_path) == set()


@pytest.mark.parametrize("there", [True, False])
async def test_eight_writers_to_one_path(tmp_path: Path, durable: bool, there: bool) -> None:
    """S7: each succeeds, one of them is the last, and nothing is left over."""
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"old")
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    for _ in range(5):
        assert await gather([fs.write_bytes(path, data, durable=durable) for data in contents]) == [None] * 8
        assert path.read_bytes() in contents
        assert names(tmp_path) == {"file"}


async def test_a_reader_sees_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * (50_000 + number * 50_000) for number in range(4)]
    await fs.write_bytes(path, contents[0])
    writing = asyncio.create_task(gather([fs.write_bytes(path, contents[n % 4], durable=False) for n in range(200)]))
    seen = set()
    while not writing.done():
        read = await fs.read_bytes(path)
        assert read in contents
        seen.add(read)
    await writing
    assert seen
