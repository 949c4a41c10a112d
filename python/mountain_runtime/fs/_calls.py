"""The operations on files, by path; each takes a path beneath a root, too."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Never, cast

from .. import _native
from .._effect.habits import no_argument
from .._native import Effect, Entry
from .._tasks.batched import items
from ..errors import ConfigError
from ..telemetry import _logs
from ._blocks import Lock, StrPath, Temporary
from ._file import File, Opened
from ._found import Found

__all__ = [
    "append",
    "copy",
    "glob",
    "hash",
    "lock",
    "mkdir",
    "move",
    "open",
    "read_bytes",
    "read_many",
    "read_text",
    "remove",
    "stat",
    "temporary",
    "walk",
    "write_bytes",
    "write_text",
]

log = _logs.logger("fs")

_NO_WAIT = "write wait=False for a lock that is free now, and BlockingIOError otherwise"

#: Arguments of filelock, portalocker and flock, and what to write for them at `lock`.
_LOCKING = {
    **dict.fromkeys(("timeout", "acquire_timeout"), "write `async with deadline(seconds), fs.lock(path):`"),
    **dict.fromkeys(("blocking", "non_blocking", "fail_when_locked"), _NO_WAIT),
    **dict.fromkeys(("exclusive", "flags"), "it keeps out all others, and with shared=True those that are not shared"),
    **dict.fromkeys(("poll_interval", "poll_intervall", "check_interval"), "the kernel says when it is free"),
    **dict.fromkeys(("thread_local", "is_singleton", "lifetime"), "each block has a lock of its own, until its end"),
}


def walk(root: StrPath, *, ignore_files: bool = False, follow_symlinks: bool = False) -> AsyncIterator[Entry]:
    """Everything below `root`, in no order, found by several threads; leaving the loop stops them.

    `ignore_files` leaves out what .gitignore and its like name. What cannot be read below the root is skipped and
    logged, to "mountain_runtime.fs".
    """
    return Found(items(_native.fs_walk(root, ignore_files, follow_symlinks), log, "walk"), "fs.walk(...)")


def glob(
    pattern: str, root: StrPath = ".", *, ignore_files: bool = False, follow_symlinks: bool = False
) -> AsyncIterator[Entry]:
    """The entries below `root` whose path from there on matches, as `walk` finds them: `glob("src/**/*.py")`.

    `*` and `?` are within a name, `**` is any number of folders, `{a,b}` one of some, `[abc]` a character; hidden names
    match, too. Folders in which nothing can match are not read. Raises ConfigError at the call for what is no pattern.
    """
    try:
        found = _native.fs_glob(pattern, root, ignore_files, follow_symlinks)
    except ValueError as error:
        raise ConfigError(f"fs.glob({pattern!r}): {error}") from None
    return Found(items(found, log, "glob"), "fs.glob(...)")


def read_bytes(path: StrPath) -> Effect[bytes]:
    """The whole file."""
    return _native.fs_read(path)


def read_text(path: StrPath, *, encoding: str = "utf-8", errors: str = "strict") -> Effect[str]:
    """The whole file as text; line ends stay as they are."""
    return _native.fs_read(path, encoding, errors)


def read_many(paths: Iterable[StrPath]) -> Effect[list[bytes]]:
    """The files in their order, with one wake-up for all; the first failure is raised."""
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError("fs.read_many() takes several paths: write fs.read_bytes(path) for one")
    if not isinstance(cast("object", paths), Iterable):
        raise TypeError(f"fs.read_many() takes an iterable of paths, not {type(paths).__name__}")
    return _native.fs_read_many(list(paths))


def hash(path: StrPath, algorithm: Literal["blake3", "sha256"] = "blake3") -> Effect[bytes]:  # noqa: A001
    """The digest of a file's content."""
    if algorithm not in ("blake3", "sha256"):
        raise ConfigError(f"fs.hash(algorithm={algorithm!r}): must be 'blake3' or 'sha256'")
    return _native.fs_hash(path, algorithm)


def write_bytes(path: StrPath, data: bytes, *, durable: bool = True) -> Effect[None]:
    """Replaces the file, or makes it."""
    try:
        return _native.fs_write(path, data, durable, False)
    except TypeError:
        if isinstance(cast("object", data), str):
            raise TypeError("fs.write_bytes() takes bytes, not str: write fs.write_text(), or encode it") from None
        raise


def write_text(path: StrPath, text: str, *, encoding: str = "utf-8", durable: bool = True) -> Effect[None]:
    """Replaces the file, or makes it; line ends stay as they are."""
    try:
        data = text.encode(encoding)
    except AttributeError:
        way = ": write fs.write_bytes()" if isinstance(cast("object", text), (bytes, bytearray, memoryview)) else ""
        raise TypeError(f"fs.write_text() takes str, not {type(text).__name__}{way}") from None
    return _native.fs_write(path, data, durable, True)


def stat(path: StrPath, *, follow_symlinks: bool = True) -> Effect[Entry]:
    """The file's attributes."""
    return _native.fs_stat(path, follow_symlinks)


def mkdir(path: StrPath, *, parents: bool = False, exist_ok: bool = False) -> Effect[None]:
    """Makes a folder."""
    return _native.fs_mkdir(path, parents, exist_ok)


def remove(path: StrPath, *, tree: bool = False, missing_ok: bool = False) -> Effect[None]:
    """Removes a file; with `tree`, also a folder and all that is in it."""
    return _native.fs_remove(path, tree, missing_ok)


def append(path: StrPath, data: bytes, *, durable: bool = True) -> Effect[None]:
    """Adds to the end of the file, or makes it. What others append comes before it or after it, never within.

    A cancel comes before the first byte, or the data is written whole.
    """
    try:
        return _native.fs_append(path, data, durable)
    except TypeError:
        if isinstance(cast("object", data), str):
            raise TypeError("fs.append() takes bytes, not str: encode it") from None
        raise


def copy(source: StrPath, target: StrPath, *, durable: bool = True) -> Effect[None]:
    """Replaces the file `target` by a copy of the file `source`, with its permissions, or makes it.

    The copy shares its blocks with the source where the file system can, and is made within the kernel elsewhere.
    """
    return _native.fs_copy(source, target, durable)


def move(source: StrPath, target: StrPath, *, durable: bool = True) -> Effect[None]:
    """Gives a file, a link or a folder the name `target`, in place of a file that has it.

    A file may go to another file system, where it is copied and then removed; a folder may not: OSError (EXDEV). Errors
    have both names, `filename` and `filename2`.
    """
    return _native.fs_move(source, target, durable)


def temporary(prefix: str = "mountain-", *, folder: StrPath | None = None) -> AbstractAsyncContextManager[str]:
    """A new folder for the block, for its user only: `async with fs.temporary() as path:`.

    It is in `folder`, by default the system's for temporary files. Leaving the block removes it with all that is in it,
    whatever ends the block.
    """
    check_prefix(prefix)
    return Temporary(prefix, folder)


def check_prefix(prefix: str) -> None:
    """Raises ConfigError for what is no beginning of a name."""
    if os.sep in prefix or "\0" in prefix:
        raise ConfigError(f"temporary({prefix!r}): the prefix is the beginning of a name, not a path")


def lock(
    path: StrPath, *, shared: bool = False, wait: bool = True, **other: Never
) -> AbstractAsyncContextManager[None]:
    """Holds an advisory lock on a file for the block: `async with fs.lock("data.lock"):`.

    It keeps out other locks of that file, in this process and in others that call `flock`; with `shared`, those that
    are not shared. The file is made if it is missing, and stays. The system lets go of the lock when the process ends.

    Waits until the lock is free; without `wait`, a lock that is taken raises BlockingIOError.
    """
    if other:
        raise no_argument("fs.lock", other, _LOCKING)
    return Lock(path, shared, wait)


def open(  # noqa: A001
    path: StrPath, mode: Literal["r", "r+", "w", "x", "a"] = "r", *, durable: bool = True
) -> AbstractAsyncContextManager[File]:
    """Opens a file of bytes, to be read or written in pieces: `async with fs.open("big.bin") as file:`.

    `r` reads what is there, `r+` also writes over it, `x` makes a file, `a` adds to the end. `w` is atomic: the new
    content takes the name as the block ends, and an error or a cancel in the block leaves the old one. With `durable`,
    what was written is on the disk after the block.

    Raises OSError with errno and filename; a pipe or a device is no file to seek in (ESPIPE).
    """
    if mode not in ("r", "r+", "w", "x", "a"):
        raise ConfigError(f"fs.open(mode={mode!r}): must be 'r', 'r+', 'w', 'x' or 'a'; all are of bytes")
    return Opened(path, mode, durable)
