"""stat, mkdir and remove, beside what pathlib does."""

import asyncio
import os
from pathlib import Path

import pytest

from mountain_runtime import _native, fs
from tests.providers.support import error_of, names, same_error


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a file, a folder, and links to both and to nothing."""
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_bytes(b"deep")
    (tmp_path / "file").write_bytes(b"12345")
    for name, target in (("link", "file"), ("folder link", "folder"), ("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("name", ["file", "folder", "link", "folder link", "dangling", "loop"])
@pytest.mark.parametrize("follow", [True, False])
async def test_stat_tells_what_pathlib_tells(tree: Path, name: str, follow: bool) -> None:
    path = tree / name
    if follow and name in ("dangling", "loop"):
        with pytest.raises(OSError) as caught:
            await fs.stat(path)
        assert same_error(caught.value, error_of(path.stat))
        return
    entry = await fs.stat(path, follow_symlinks=follow)
    real = path.stat() if follow else path.lstat()
    assert (entry.path, entry.size) == (str(path), real.st_size)
    assert entry.modified == pytest.approx(real.st_mtime, abs=1e-6)
    links = path.is_symlink() and not follow
    assert (entry.is_symlink, entry.is_file, entry.is_dir) == (
        links,
        path.is_file() and not links,
        path.is_dir() and not links,
    )


async def test_an_entry_is_a_value(tree: Path) -> None:
    one, same = await fs.stat(tree / "file"), await fs.stat(tree / "file")
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, await fs.stat(tree / "folder")}) == 2
    assert str(tree / "file") in repr(one)
    with pytest.raises(AttributeError):
        one.size = 7  # type: ignore[misc]


async def test_times_before_1970_are_negative(tree: Path) -> None:
    os.utime(tree / "file", (-1.5, -1.5))
    assert (await fs.stat(tree / "file")).modified == pytest.approx(-1.5)


@pytest.mark.parametrize(
    "name", ["new", "new/deep/er", "folder", "file", "file/below", "link", "folder link", "dangling", "folder/deep"]
)
@pytest.mark.parametrize("parents", [True, False])
@pytest.mark.parametrize("exist_ok", [True, False])
async def test_mkdir_does_what_pathlib_does(tree: Path, name: str, parents: bool, exist_ok: bool) -> None:
    path = tree / name
    theirs = None
    try:
        path.mkdir(parents=parents, exist_ok=exist_ok)
    except OSError as error:
        theirs = error
    if theirs is not None:
        with pytest.raises(type(theirs)) as caught:
            await fs.mkdir(path, parents=parents, exist_ok=exist_ok)
        assert (caught.value.errno, caught.value.filename) == (theirs.errno, str(path))
        return
    if name.startswith("new"):  # take away what pathlib made, and make it ourselves
        os.removedirs(path)
        tree.mkdir(exist_ok=True)
    await fs.mkdir(path, parents=parents, exist_ok=exist_ok)
    assert path.is_dir()


async def test_mkdir_of_one_path_by_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c" / "d"
    await asyncio.gather(*(fs.mkdir(path, parents=True, exist_ok=True) for _ in range(32)))
    assert path.is_dir()


@pytest.mark.parametrize("name", ["file", "link", "folder link", "dangling", "loop", "missing", "file/below"])
async def test_remove_does_what_unlink_does(tree: Path, name: str) -> None:
    path, before = tree / name, names(tree)
    if os.path.lexists(path):
        await fs.remove(path)
        assert names(tree) == before - {name}
        assert names(tree / "folder") == {"deep"}
    with pytest.raises(OSError) as caught:
        await fs.remove(path)
    assert same_error(caught.value, error_of(path.unlink))
    if name != "file/below":
        await fs.remove(path, missing_ok=True)


async def test_a_folder_is_removed_only_as_a_tree(tree: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        await fs.remove(tree / "folder", missing_ok=True)
    assert caught.value.filename == str(tree / "folder")
    await fs.remove(tree / "folder", tree=True)
    assert not (tree / "folder").exists()
    with pytest.raises(FileNotFoundError):
        await fs.remove(tree / "folder", tree=True)
    await fs.remove(tree / "folder", tree=True, missing_ok=True)


async def test_a_tree_goes_and_what_its_links_lead_to_stays(tree: Path) -> None:
    inside = tree / "folder" / "deep"
    (inside / "out").symlink_to(tree / "file")
    (inside / "up").symlink_to("..", target_is_directory=True)
    os.mkfifo(inside / "pipe")
    for number in range(300):
        (inside / f"{number}").touch()
    await fs.remove(tree / "folder link", tree=True)  # the link, not what it leads to
    assert inside.is_dir()
    await fs.remove(tree / "folder", tree=True)
    assert names(tree) == {"file", "link", "dangling", "loop"}
    assert (tree / "file").read_bytes() == b"12345"


async def test_they_are_native(tree: Path) -> None:
    for effect in (fs.stat(tree), fs.mkdir(tree, exist_ok=True), fs.remove(tree / "missing", missing_ok=True)):
        assert _native.is_native(effect)
        await effect
