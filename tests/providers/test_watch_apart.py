"""fs.watch in a namespace of its own, which has limits and mounts of its own."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMITED = """
import asyncio, logging, sys
from mountain_runtime import fs

logging.basicConfig(format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)

async def main(root):
    async with fs.watch(root, settle=0.01) as batches:
        lost = [change.path for change in await anext(batches) if change.kind == "overflow"]
        print("lost", len(lost))
        for number in range(20):
            await fs.write_text(f"{root}/{number:02}/x", "")
        made = {change.path for change in await anext(batches) if change.kind == "made"}
        print("made", len(made), "of them lost", sum(path.startswith(tuple(lost)) for path in made))

asyncio.run(main(sys.argv[1]))
"""


def test_the_limit_of_watches_is_one_warning_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A user namespace has a limit of its own."""
    for number in range(20):
        (tmp_path / f"{number:02}").mkdir()
    limit = 'echo 6 > /proc/sys/user/max_inotify_watches && exec "$@"'
    argv = ["unshare", "-r", "sh", "-c", limit, "sh", sys.executable, "-c", LIMITED, os.fspath(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    warning, lost, made = done.stdout.splitlines()
    assert warning.startswith("mountain_runtime.fs WARNING watch skipped")
    assert "fs.inotify.max_user_watches" in warning
    assert (lost, made) == ("lost 15", "made 5 of them lost 0")


REFUSED = """
import asyncio, logging, sys
from mountain_runtime import fs

logging.basicConfig(format="%(name)s %(levelname)s %(message)s", stream=sys.stdout)

async def main(root):
    try:
        async with fs.watch(root) as batches:
            await anext(batches)
    except OSError as error:
        print(error.errno, error.filename)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("limit", "number"), [("watches", errno.ENOSPC), ("instances", errno.EMFILE)], ids=["watches", "instances"]
)
@pytest.mark.parametrize("of", ["folder", "file"])
def test_a_limit_that_lets_nothing_be_watched_is_named(tmp_path: Path, limit: str, number: int, of: str) -> None:
    """The error is the system's, whose words are about disks and files: the log has what to raise."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    root = os.fspath(tmp_path / of)
    limited = f'echo 0 > /proc/sys/user/max_inotify_{limit} && exec "$@"'
    argv = ["unshare", "-r", "sh", "-c", limited, "sh", sys.executable, "-c", REFUSED, root]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    warning, error = done.stdout.splitlines()
    assert warning.startswith("mountain_runtime.fs WARNING watch skipped")
    assert f"fs.inotify.max_user_{limit}" in warning
    assert error == f"{number} {root}"


UNMOUNTED = """
import asyncio, os, subprocess, sys
from mountain_runtime import fs

async def main(root):
    def told(batch):
        return sorted((os.path.relpath(change.path, root), change.kind) for change in batch)

    async with fs.watch(root, settle=0.01, existing=True) as batches:
        print(told(await anext(batches)))
        subprocess.run(["umount", f"{root}/mount"], check=True)
        print(told(await anext(batches)))
        open(f"{root}/mount/below/x", "w").close()
        print(told(await anext(batches)))

asyncio.run(main(sys.argv[1]))
"""


def test_a_folder_that_is_unmounted_is_the_one_below(tmp_path: Path) -> None:
    """A user namespace has mounts of its own."""
    (tmp_path / "mount/below").mkdir(parents=True)
    mounted = 'mount -t tmpfs none "$0/mount" && mkdir "$0/mount/in" && exec "$@" "$0"'
    argv = ["unshare", "-rm", "sh", "-c", mounted, os.fspath(tmp_path), sys.executable, "-c", UNMOUNTED]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    before, gone, after = done.stdout.splitlines()
    assert before == "[('mount', 'made'), ('mount/in', 'made')]"
    assert gone == "[('mount/below', 'made'), ('mount/in', 'removed')]"
    assert after == "[('mount/below/x', 'made')]"
