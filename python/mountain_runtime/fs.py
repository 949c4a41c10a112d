"""Files, without blocking the loop: each call is an effect that runs wholly on native workers.

Failures raise the builtin errors (FileNotFoundError and its kin) with errno and filename. A write is atomic: a
reader sees the old file or the new one, whole, and a cancelled write leaves nothing behind; with `durable` it is on the
disk when it returns. A file that cannot be replaced (a mount, a folder that may not be written) is written in place,
which is not atomic.
"""

import os
from collections.abc import AsyncIterator, Iterable
from typing import Literal, cast

from . import _native
from ._native import Effect, Entry
from .errors import ConfigError
from .telemetry import _logs

__all__ = [
    "Entry",
    "hash",
    "mkdir",
    "read_bytes",
    "read_many",
    "read_text",
    "remove",
    "stat",
    "walk",
    "write_bytes",
    "write_text",
]

StrPath = str | os.PathLike[str]

_log = _logs.logger("fs")


def walk(root: StrPath, *, ignore_files: bool = False, follow_symlinks: bool = False) -> AsyncIterator[Entry]:
    """Everything below `root`, in no order, found by several threads; leaving the loop stops them.

    `ignore_files` leaves out what .gitignore and its like name. What cannot be read below the root is skipped and
    logged, to "mountain_runtime.fs".
    """
    return _entries(_native.Walk(root, ignore_files, follow_symlinks))


async def _entries(found: _native.Walk) -> AsyncIterator[Entry]:
    try:
        while (entries := await found.batch()) is not None:
            _log_skipped(found)
            for entry in entries:
                yield entry
        _log_skipped(found)
    finally:
        found.close()


def _log_skipped(found: _native.Walk) -> None:
    for what in found.take_skipped():
        _log.warning("walk skipped %s", what)


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
