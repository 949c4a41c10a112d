"""Files that cannot be replaced are written in place; what cannot be made says that it is the folder.

The refusals here are the system's: mounts in a namespace of a program's own and folders of another user, where the
tests may make such. What each errno leads to is tried beside the code, in Rust, as any user.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.support import ROOT_USER, names

pytestmark = pytest.mark.processes

#: The user that root becomes for a write. Other users stay what they are.
STRANGER = 65534 if ROOT_USER else None

PROGRAM = """
import asyncio, json, os, sys
from mountain_runtime import fs

path, content, durable, user = json.loads(sys.argv[1])

async def main():
    await fs.write_text(path, content, durable=durable)

if user is not None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
try:
    asyncio.run(main())
except OSError as error:
    print(json.dumps([type(error).__name__, error.filename]))
else:
    print("null")
"""


def works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


#: Before a program: it has mounts of its own.
APART = ["unshare", "-rm"]
MOUNTS = works(*APART, "true")


def write(path: Path, content: str, *, durable: bool = True, user: int | None = None, before: str = "") -> Any:
    """The error of a write, its type and path, or None. `before`: commands in a namespace that ends with the write."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps([str(path), content, durable, user])]
    if before:
        script = f'set -e; {before}\n"$@"; cmp -s "$0" {path} || echo "another content is at {path}"'
        expected = path.parent / "expected"
        expected.write_text(content)
        command = [*APART, "sh", "-c", script, str(expected), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user reaches."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)
        Path(name).chmod(0o755)


@pytest.fixture(params=[True, False], ids=["durable", "quick"])
def durable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def file_in(folder: Path, mode: int = 0o666) -> Path:
    path = folder / "config.json"
    path.write_text("the old content, which is longer")
    path.chmod(mode)
    return path


def test_in_a_folder_that_one_may_not_write(public: Path, durable: bool) -> None:
    path = file_in(public)
    inode = path.stat().st_ino
    public.chmod(0o555)
    assert write(path, "new", durable=durable, user=STRANGER) is None
    assert (path.read_text(), path.stat().st_ino, names(public)) == ("new", inode, {"config.json"})
    link = Path(f"{public}.link")
    link.symlink_to(path)
    try:
        assert write(link, "by a link", durable=durable, user=STRANGER) is None
    finally:
        link.unlink()
    assert path.read_text() == "by a link"


def test_a_file_that_is_not_there_yet_fails_because_of_its_folder(public: Path, durable: bool) -> None:
    public.chmod(0o555)
    error = write(public / "new", "x", durable=durable, user=STRANGER)
    assert [error[0], Path(error[1])] == ["PermissionError", public]
    assert names(public) == set()


def test_a_file_that_one_may_not_write_is_refused_as_before(public: Path) -> None:
    path = file_in(public, 0o444)
    public.chmod(0o777)
    assert write(path, "new", user=STRANGER) == ["PermissionError", str(path)]
    assert path.read_text() == "the old content, which is longer"
    assert names(public) == {"config.json"}


if ROOT_USER:  # only root makes files of several owners

    @pytest.mark.parametrize("mode", [0o1777, 0o777], ids=["sticky", "anybody's"])
    def test_a_file_of_another_user_stays_that_user_s(public: Path, mode: int, durable: bool) -> None:
        path = file_in(public)
        os.chown(path, 12345, 12345)
        public.chmod(mode)
        assert write(path, "new", durable=durable, user=STRANGER) is None
        about = path.stat()
        assert (path.read_text(), about.st_uid, about.st_gid, about.st_mode & 0o7777) == ("new", 12345, 12345, 0o666)
        assert names(public) == {"config.json"}


if MOUNTS:
    #: Writes to `{folder}/config.json`, where a container has such a file: its source is `{folder}/host.json`.
    SCENES = {
        "bound": "mount --bind {folder}/host.json {folder}/config.json",
        "bound into what is read-only": "mount --bind {folder} {folder}\n"
        "mount --bind {folder}/host.json {folder}/config.json\n"
        "mount -o remount,bind,ro {folder}",
    }

    @pytest.mark.parametrize("scene", SCENES)
    def test_a_file_that_is_bound_into_a_container(tmp_path: Path, scene: str, durable: bool) -> None:
        path, source = file_in(tmp_path), tmp_path / "host.json"
        source.write_text("the host's content, which is longer")
        assert write(path, "new", durable=durable, before=SCENES[scene].format(folder=tmp_path)) is None
        assert source.read_text() == "new"
        assert path.read_text() == "the old content, which is longer", "what the mount hides"
        assert names(tmp_path) == {"config.json", "host.json", "expected"}

    def test_a_read_only_system_is_named(tmp_path: Path) -> None:
        path = file_in(tmp_path)
        read_only = f"mount --bind {tmp_path} {tmp_path}\nmount -o remount,bind,ro {tmp_path}"
        error = write(tmp_path / "new", "new", before=f"{read_only}\ncmp() {{ true; }}")
        assert [error[0], Path(error[1])] == ["OSError", tmp_path]
        assert write(path, "new", before=f"{read_only}\ncmp() {{ true; }}") == ["OSError", str(path)]


def test_extended_attributes_are_kept(tmp_path: Path, durable: bool) -> None:
    path = file_in(tmp_path, 0o640)
    inode = path.stat().st_ino
    kept: dict[str, bytes] = {}
    if sys.platform == "linux":
        # An access control list: its owner, one user, its group, the mask, others.
        entries = [(1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
        access = b"\2\0\0\0" + b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
            for tag, rights, who in entries
        )
        kept = {"user.origin": b"a program\0 of ours", "system.posix_acl_access": access}
        for name, value in kept.items():
            os.setxattr(path, name, value)
    assert write(path, "new", durable=durable) is None
    assert path.stat().st_ino != inode, "it was replaced"
    assert path.stat().st_mode & 0o777 == 0o640
    if sys.platform == "linux":
        assert {name: os.getxattr(path, name) for name in kept} == kept
