"""Blocks of files: a folder that vanishes, and a lock."""

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType

from .. import _native
from .._effect.misused import AsyncBlockOnly
from .._tasks.outlast import outlast

__all__ = ["Lock", "StrPath", "Temporary", "ended", "plain"]

StrPath = str | os.PathLike[str]


def plain(path: object) -> str:
    """The path as its caller wrote it. Raises TypeError for what is none."""
    return os.fsdecode(path.path if isinstance(path, _native.Beneath) else path)  # type: ignore[arg-type]


async def ended(cleanup: _native.Effect[None], error: BaseException | None) -> None:
    """Waits for a cleanup after `error`, whatever cancels come meanwhile; the last of them is raised then."""
    task = asyncio.ensure_future(cleanup)
    cancelled = await outlast([task], asked=isinstance(error, asyncio.CancelledError))
    task.result()
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


class Temporary(AsyncBlockOnly, AbstractAsyncContextManager[str]):
    _block = "fs.temporary() as path"

    def __init__(self, prefix: str, folder: StrPath | None, place: Callable[[str], str] = str) -> None:
        self._prefix, self._folder = prefix, folder
        #: Makes of a path the object that the native functions take for it.
        self._place = place
        self._path: str | None = None
        self._process = os.getpid()

    async def __aenter__(self) -> str:
        if self._path is not None:
            raise RuntimeError("a fs.temporary() is entered once: make another")
        import tempfile  # it takes its time

        folder = os.fsdecode(tempfile.gettempdir() if self._folder is None else self._folder)
        if self._place is str:  # its end may come in another working directory
            folder = _absolute(folder)
        while True:
            self._path = f"{folder}/{self._prefix}{secrets.token_hex(8)}"
            try:
                await _native.fs_private_folder(self._place(self._path))
            except FileExistsError:
                continue
            return self._path

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._path is not None
        if os.getpid() != self._process:
            return  # it is the parent's
        if isinstance(error, GeneratorExit):
            _native.fs_remove_private_now(self._place(self._path))
        else:
            await ended(_native.fs_remove_private(self._place(self._path)), error)


class Lock(AsyncBlockOnly, AbstractAsyncContextManager[None]):
    _block = "fs.lock(path)"

    def __init__(self, path: StrPath, shared: bool, wait: bool) -> None:
        plain(path)
        self._settings = path, shared, wait
        self._held: _native.Locked | None = None

    async def __aenter__(self) -> None:
        if self._held is not None:
            raise RuntimeError("a fs.lock() is held by one block at a time: make another")
        self._held = await _native.fs_lock(*self._settings)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._held is not None
        self._held.release()
        self._held = None
