"""Files beneath a folder that no operation leaves."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Never, cast

from .. import _native
from .._native import Effect, Entry
from .._tasks.batched import items
from ..errors import ConfigError
from . import _calls
from ._blocks import StrPath, Temporary
from ._file import File
from ._found import Found

__all__ = ["Rooted", "rooted"]


def rooted(path: StrPath) -> "Rooted":
    """The operations of this module on what is beneath the folder `path`, for paths that come from elsewhere.

    Paths are relative to it. Neither `..`, nor a link, nor a folder that is swapped for one in the middle of an
    operation leads out of it: PermissionError. The folder itself is found by `path` with each operation.
    """
    return Rooted(path)


class Rooted:
    """The operations of `fs` beneath a folder. All paths are relative to it, those of entries and errors, too.

    A link is followed where its end is beneath the folder. Devices and mounts in it are not kept out.
    """

    #: Goes through paths name by name, also where the system could resolve them.
    _by_steps = False

    def __init__(self, path: StrPath) -> None:
        self._root = os.fsdecode(path)

    def __repr__(self) -> str:
        return f"fs.rooted({self._root!r})"

    def _at(self, path: StrPath) -> str:
        # No path to Python, so that only the native functions take it for one.
        return cast("str", _native.Beneath(self._root, path, self._by_steps))

    def walk(self, path: StrPath = ".") -> AsyncIterator[Entry]:
        """Everything below `path`, as `fs.walk` has it, found by one thread. Links are not followed."""
        found = _native.fs_walk_beneath(self._at(path), None)
        return Found(items(found, _calls.log, "walk"), "folder.walk(...)")

    def glob(self, pattern: str, path: StrPath = ".") -> AsyncIterator[Entry]:
        """The entries of `walk` whose path from `path` on matches."""
        try:
            found = _native.fs_walk_beneath(self._at(path), pattern)
        except ValueError as error:
            raise ConfigError(f"glob({pattern!r}): {error}") from None
        return Found(items(found, _calls.log, "glob"), "folder.glob(...)")

    def read_bytes(self, path: StrPath) -> Effect[bytes]:
        """As `fs.read_bytes`."""
        return _calls.read_bytes(self._at(path))

    def read_text(self, path: StrPath, *, encoding: str = "utf-8", errors: str = "strict") -> Effect[str]:
        """As `fs.read_text`."""
        return _calls.read_text(self._at(path), encoding=encoding, errors=errors)

    def read_many(self, paths: Iterable[StrPath]) -> Effect[list[bytes]]:
        """As `fs.read_many`."""
        return _calls.read_many(paths if isinstance(paths, (str, bytes, os.PathLike)) else map(self._at, paths))

    def hash(self, path: StrPath, algorithm: Literal["blake3", "sha256"] = "blake3") -> Effect[bytes]:
        """As `fs.hash`."""
        return _calls.hash(self._at(path), algorithm)

    def write_bytes(self, path: StrPath, data: bytes, *, durable: bool = True) -> Effect[None]:
        """As `fs.write_bytes`."""
        return _calls.write_bytes(self._at(path), data, durable=durable)

    def write_text(self, path: StrPath, text: str, *, encoding: str = "utf-8", durable: bool = True) -> Effect[None]:
        """As `fs.write_text`."""
        return _calls.write_text(self._at(path), text, encoding=encoding, durable=durable)

    def stat(self, path: StrPath, *, follow_symlinks: bool = True) -> Effect[Entry]:
        """As `fs.stat`."""
        return _calls.stat(self._at(path), follow_symlinks=follow_symlinks)

    def mkdir(self, path: StrPath, *, parents: bool = False, exist_ok: bool = False) -> Effect[None]:
        """As `fs.mkdir`."""
        return _calls.mkdir(self._at(path), parents=parents, exist_ok=exist_ok)

    def remove(self, path: StrPath, *, tree: bool = False, missing_ok: bool = False) -> Effect[None]:
        """As `fs.remove`. The folder itself is not removed."""
        return _calls.remove(self._at(path), tree=tree, missing_ok=missing_ok)

    def append(self, path: StrPath, data: bytes, *, durable: bool = True) -> Effect[None]:
        """As `fs.append`."""
        return _calls.append(self._at(path), data, durable=durable)

    def copy(self, source: StrPath, target: StrPath, *, durable: bool = True) -> Effect[None]:
        """As `fs.copy`, both beneath the folder."""
        return _calls.copy(self._at(source), self._at(target), durable=durable)

    def move(self, source: StrPath, target: StrPath, *, durable: bool = True) -> Effect[None]:
        """As `fs.move`, both beneath the folder."""
        return _calls.move(self._at(source), self._at(target), durable=durable)

    def temporary(self, prefix: str = "mountain-", *, folder: StrPath = ".") -> AbstractAsyncContextManager[str]:
        """As `fs.temporary`, in a folder beneath this one; yields the path from here on."""
        _calls.check_prefix(prefix)
        return Temporary(prefix, folder, self._at)

    def lock(
        self, path: StrPath, *, shared: bool = False, wait: bool = True, **other: Never
    ) -> AbstractAsyncContextManager[None]:
        """As `fs.lock`."""
        return _calls.lock(self._at(path), shared=shared, wait=wait, **other)

    def open(
        self, path: StrPath, mode: Literal["r", "r+", "w", "x", "a"] = "r", *, durable: bool = True
    ) -> AbstractAsyncContextManager[File]:
        """As `fs.open`."""
        return _calls.open(self._at(path), mode, durable=durable)
