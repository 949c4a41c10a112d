"""Files beneath a folder that no operation leaves, as the system resolves paths, and name by name."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mountain_runtime import errors, fs
from mountain_runtime.fs import Rooted

from .support import error_of, names, same_error, within

#: Every operation that takes a path, on that path. Those of two are there twice.
OPERATIONS: dict[str, Callable[[Rooted, str], Awaitable[object]]] = {
    "read_bytes": lambda root, path: root.read_bytes(path),
    "read_text": lambda root, path: root.read_text(path),
    "read_many": lambda root, path: root.read_many([path]),
    "hash": lambda root, path: root.hash(path),
    "write_bytes": lambda root, path: root.write_bytes(path, b"evil"),
    "write_text": lambda root, path: root.write_text(path, "evil"),
    "stat": lambda root, path: root.stat(path),
    "append": lambda root, path: root.append(path, b"evil"),
    "copy from": lambda root, path: root.copy(path, "copied"),
    "copy to": lambda root, path: root.copy("inside/file", path),
    "lock": lambda root, path: enter(root.lock(path)),
    "open": lambda root, path: enter(root.open(path)),
    "open r+": lambda root, path: enter(root.open(path, "r+")),
    "open w": lambda root, path: enter(root.open(path, "w")),
    "open x": lambda root, path: enter(root.open(path, "x")),
    "open a": lambda root, path: enter(root.open(path, "a")),
}
#: Those that are about a name itself, wherever a link of that name leads to.
OF_NAMES: dict[str, Callable[[Rooted, str], Awaitable[object]]] = {
    "stat itself": lambda root, path: root.stat(path, follow_symlinks=False),
    "mkdir": lambda root, path: root.mkdir(path, parents=True),
    "remove": lambda root, path: root.remove(path, tree=True),
    "move from": lambda root, path: root.move(path, "moved"),
    "move to": lambda root, path: root.move("inside/file", path),
}
#: Those of folders.
OF_FOLDERS: dict[str, Callable[[Rooted, str], Awaitable[object]]] = {
    "walk": lambda root, path: all_of(root.walk(path)),
    "glob": lambda root, path: all_of(root.glob("**/*", path)),
    "temporary": lambda root, path: enter(root.temporary(folder=path)),
}


async def enter(block: object) -> object:
    async with block as held:  # type: ignore[attr-defined]
        return held


async def all_of(walk: object) -> list[str]:
    return [entry.path async for entry in walk]  # type: ignore[attr-defined]


@pytest.fixture(params=["by the system", "by steps"])
def root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rooted:
    """A folder `root`, with another beside it."""
    for path, content in {
        "root/inside/file": "inside",
        "root/inside/deep/file": "deep",
        "beside/secret": "kept",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    monkeypatch.setattr(Rooted, "_by_steps", request.param == "by steps")
    return fs.rooted(tmp_path / "root")


@pytest.fixture(autouse=True)
def beside_stays(tmp_path: Path) -> Iterator[None]:
    """The files beside the root stay as they are in every test."""
    yield
    assert names(tmp_path) <= {"root", "beside", "elsewhere"}
    if (tmp_path / "beside").exists():
        assert {name: (tmp_path / "beside" / name).read_text() for name in names(tmp_path / "beside")} == {
            "secret": "kept"
        }


async def test_all_operations_work_beneath_it(root: Rooted, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    await root.mkdir("a/b", parents=True)
    await root.write_text("a/b/new", "new")
    await root.write_bytes("a/b/new", b"newer")
    await root.append("a/b/new", b" still")
    assert (folder / "a/b/new").read_text() == await root.read_text("a/b/new") == "newer still"
    await root.copy("a/b/new", "a/copy")
    await root.move("a/copy", "moved")
    assert await root.read_many(["moved", "inside/file"]) == [b"newer still", b"inside"]
    assert await root.hash("moved") == await fs.hash(folder / "moved")
    async with root.open("pieces", "w") as file:
        await file.write(b"one")
        assert repr(file) == "<File 'pieces' position=3>"
    async with root.open("pieces", "r+") as file:
        await file.seek(0, end=True)
        await file.write(b"two")
    assert await root.read_bytes("pieces") == b"onetwo"
    async with root.lock("locked"):
        with pytest.raises(BlockingIOError):
            await enter(fs.lock(folder / "locked", wait=False))
    async with root.temporary("t-", folder="a") as made:
        assert made.startswith("a/t-")
        assert (folder / made).stat().st_mode & 0o777 == 0o700
        await root.write_text(f"{made}/x", "x")
    assert names(folder / "a") == {"b"}
    entry = await root.stat("moved")
    assert (entry.path, entry.size, entry.is_file) == ("moved", 11, True)
    await root.remove("a", tree=True)
    await root.remove("moved")
    await root.remove("moved", missing_ok=True)
    await root.remove("no/such/file", missing_ok=True)
    assert names(folder) == {"inside", "pieces", "locked"}
    assert repr(root) == f"fs.rooted({str(folder)!r})"
    effect = root.read_bytes("inside/file")
    assert "'inside/file'" in repr(effect)
    assert await effect == b"inside"


async def test_a_walk_has_the_paths_that_the_root_takes(root: Rooted, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("inside")
    (tmp_path / "root/out").symlink_to(tmp_path / "beside")
    found = {entry.path: entry async for entry in root.walk()}
    assert set(found) == {"inside", "inside/file", "inside/deep", "inside/deep/file", "link", "out"}
    assert found["out"].is_symlink
    assert await root.read_text(found["inside/deep/file"].path) == "deep"
    assert set(await all_of(root.walk("inside"))) == {"inside/file", "inside/deep", "inside/deep/file"}
    assert set(await all_of(root.walk("link"))) == {"link/file", "link/deep", "link/deep/file"}
    assert await all_of(root.walk("inside/file")) == ["inside/file"]
    assert await all_of(root.glob("*/file")) == ["inside/file"]
    assert set(await all_of(root.glob("**/file"))) == {"inside/file", "inside/deep/file"}
    assert await all_of(root.glob("deep/*", "inside")) == ["inside/deep/file"]
    with pytest.raises(errors.ConfigError, match=r"glob\('\[a'\)"):
        root.glob("[a")


@pytest.mark.parametrize("operation", OPERATIONS | OF_NAMES | OF_FOLDERS)
@pytest.mark.parametrize(
    "path",
    ["../beside/secret", "..", "inside/../../beside/secret", "/etc/hostname", "up/beside/secret", "absolute/secret",
     "inside/deep/out/secret"],
)  # fmt: skip
async def test_no_path_leads_out(root: Rooted, tmp_path: Path, operation: str, path: str) -> None:
    (tmp_path / "root/up").symlink_to("..")
    (tmp_path / "root/absolute").symlink_to(tmp_path / "beside")
    (tmp_path / "root/inside/deep/out").symlink_to("../../../beside")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(PermissionError) as caught:
        await (OPERATIONS | OF_NAMES | OF_FOLDERS)[operation](root, path)
    assert str(caught.value.filename).startswith(path) or operation == "mkdir"
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("link", ["../beside/secret", "../beside/made", "chain"])
async def test_no_link_at_the_end_leads_out(root: Rooted, tmp_path: Path, operation: str, link: str) -> None:
    (tmp_path / "root/chain").symlink_to("inside/deep/next")
    (tmp_path / "root/inside/deep/next").symlink_to("../../../beside/secret")
    (tmp_path / "root/link").symlink_to(link)
    if operation == "open x":  # which follows no link, as the system's flag
        with pytest.raises((FileExistsError, PermissionError)):
            await OPERATIONS[operation](root, "link")
        return
    with pytest.raises(PermissionError):
        await OPERATIONS[operation](root, "link")


async def test_what_is_about_a_name_leaves_the_end_of_its_link_alone(root: Rooted, tmp_path: Path) -> None:
    link = tmp_path / "root/link"
    link.symlink_to("../beside")
    assert (await root.stat("link", follow_symlinks=False)).is_symlink
    await root.move("link", "other")
    await root.remove("other", tree=True)
    link.symlink_to("../beside/secret")
    await root.move("inside/file", "link")
    assert not link.is_symlink()
    assert link.read_text() == "inside"


async def test_links_within_it_are_followed(root: Rooted, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    (folder / "link").symlink_to("inside/deep")
    (folder / "inside/deep/up").symlink_to("../file")
    (folder / "inside/deep/new").symlink_to("../made")
    assert await root.read_text("link/up") == "inside"
    assert await root.read_text("link/../file") == "inside", "as the system has `..` behind a link"
    assert (await root.stat("link/up")).is_file
    await root.write_text("link/up", "changed")
    await root.write_text("link/new", "made")
    assert (folder / "inside/file").read_text() == "changed"
    assert (folder / "inside/made").read_text() == "made"
    assert (folder / "inside/deep/up").is_symlink()
    await root.append("inside/./deep/../deep/up", b"!")
    assert await root.read_text("inside/file") == "changed!"


async def test_errors_are_those_of_the_system_by_the_path_that_was_given(
    root: Rooted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "root")
    (tmp_path / "root/circle").symlink_to("circle")
    for path in ("missing", "missing/below", "inside/file/below", "inside", "circle", "circle/x", "x" * 300, ""):
        with pytest.raises(OSError) as caught:
            await root.read_bytes(path)
        assert same_error(
            caught.value,
            error_of(lambda path=path: os.open(path, os.O_RDONLY) if not path else Path(path).read_bytes()),
        )
    for call in (root.mkdir("inside"), root.mkdir("."), root.write_bytes("inside", b""), root.remove("inside")):
        with pytest.raises((FileExistsError, IsADirectoryError)):
            await call
    with pytest.raises(OSError, match=r"\[Errno 22\]"):
        await root.remove("inside/..", tree=True)
    assert (tmp_path / "root/inside/file").exists()
    with pytest.raises(ValueError, match="null byte"):
        await root.read_bytes("a\0b")
    with pytest.raises(TypeError, match=r"a path is a str or os\.PathLike, not int"):
        await root.read_bytes(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes several paths"):
        root.read_many("inside/file")
    gone = fs.rooted(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        await gone.read_bytes("x")
    await root.mkdir(".", exist_ok=True)


async def test_nothing_stays_open(root: Rooted, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("inside/deep")

    async def all_calls() -> None:
        for operation in OPERATIONS.values():
            for path in ("inside/file", "link/file", "link/../missing", "../beside/secret", "inside"):
                try:
                    await operation(root, path)
                except OSError:
                    pass
        await all_of(root.walk())

    await all_calls()
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        await all_calls()
    assert len(os.listdir("/dev/fd")) <= before


def swapping(folder: Path, stop: threading.Event) -> None:
    """Swaps the folder `here`, and the file and the links in it, for links that lead out, as fast as it can."""
    here, kept, out = folder / "here", folder / "kept", folder / "out"
    out.symlink_to("../beside")
    while not stop.is_set():
        os.rename(here, kept)
        os.rename(out, here)
        os.rename(here, out)
        os.rename(kept, here)
        link = here / "swap"
        link.symlink_to("../../beside/secret")
        os.replace(link, here / "secret")
        link.write_text("inside")
        os.replace(link, here / "secret")


@pytest.mark.serial
async def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere(root: Rooted, tmp_path: Path) -> None:
    """A read has the content from inside, a write stays inside, and the rest is an error of the system."""
    folder = tmp_path / "root"
    (folder / "here").mkdir()
    (folder / "here/secret").write_text("inside")
    stop = threading.Event()
    swaps = threading.Thread(target=swapping, args=(folder, stop))
    swaps.start()
    read, refused = 0, 0
    operations = {
        "read": lambda: root.read_text("here/secret"),
        "open": lambda: enter(root.open("here/secret", "r+")),
        "write": lambda: root.write_text("here/new", "mine", durable=False),
        "append": lambda: root.append("here/added", b"mine", durable=False),
        "copy": lambda: root.copy("here/secret", "here/copied", durable=False),
        "mkdir": lambda: root.mkdir("here/made", exist_ok=True),
        "remove": lambda: root.remove("here/made", tree=True, missing_ok=True),
        "walk": lambda: all_of(root.walk("here")),
    }
    try:
        end = time.monotonic() + 0.7  # the race is between real threads
        while time.monotonic() < end:
            for name, operation in operations.items():
                try:
                    got = await operation()
                except OSError:
                    refused += 1
                else:
                    read += 1
                    if name == "read":
                        assert got == "inside"
                    if name == "walk":
                        assert isinstance(got, list)
                        assert all(path.startswith("here/") for path in got)
                        assert not any(path.endswith("kept") for path in got)
    finally:
        stop.set()
        await asyncio.to_thread(swaps.join)
    assert read > 20
    assert refused > 0, "nothing was ever swapped in the middle"
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert file.read_text() != "kept", "something was copied from outside"


async def test_a_root_is_a_value_that_any_loop_may_use(root: Rooted) -> None:
    with within(5):
        assert await asyncio.to_thread(lambda: asyncio.run(root.read_text("inside/file"))) == "inside"  # type: ignore[arg-type]
