"""A file that is read and written in pieces, and the block that it belongs to."""

import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, NoReturn, cast

from .. import _native
from .._effect.habits import Habits
from .._effect.misused import AsyncBlockOnly
from ..policy._numbers import count
from ._blocks import StrPath, ended, plain

__all__ = ["File", "Opened"]

#: Bytes.
_PIECE = 1 << 20


class File(Habits):
    """An open file. It belongs to the block that opened it, and has one call at a time.

    A cancelled read has read nothing: the position stays. A write that has begun is written to its end.
    """

    _ways: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("readline", "readlines", "lines"), "write (await fs.read_text(path)).splitlines()"),
        **dict.fromkeys(("close", "flush"), "it is written with each call, and closed with its block"),
    }

    def __init__(self, path: str, held: _native.OpenFile, mode: str) -> None:
        self._path = path
        self._held = held
        self._reads_only = mode == "r"

    def __repr__(self) -> str:
        return f"<File {self._path!r} position={self._held.position}>"

    async def read(self, size: int = _PIECE) -> bytes:
        """Up to so many bytes; fewer at the end, and then none."""
        return await self._held.read(count(size, "File.read", "size"))

    async def chunks(self, size: int = _PIECE) -> AsyncIterator[bytes]:
        """The rest, in pieces of so many bytes. The next one is read when it is asked for."""
        while piece := await self.read(size):
            yield piece

    async def write(self, data: bytes) -> None:
        """Writes at the position, over what is there; returns when the system has taken all of it."""
        self._for_writing()
        try:
            await self._held.write(data)
        except TypeError:
            if isinstance(cast("object", data), str):
                raise TypeError("write() takes bytes, not str: encode it") from None
            raise

    async def seek(self, offset: int, *, end: bool = False) -> int:
        """Moves the position to so many bytes from the beginning, or with `end` from the end: the new position."""
        return await self._held.seek(offset, end)

    async def truncate(self, size: int) -> None:
        """Cuts the file off after so many bytes, or fills it up with zeros."""
        self._for_writing()
        await self._held.truncate(size)

    def tell(self) -> int:
        """The position, in bytes from the beginning. Raises ValueError while a call runs, and after the block."""
        position = self._held.position
        if position is None:
            raise ValueError("the file is closed, or another call on it runs")
        return position

    def _for_writing(self) -> None:
        if self._reads_only:
            way = "open it with mode 'r+' to write over it, 'w' for a new content, 'a' for its end"
            raise OSError(errno.EBADF, f"Bad file descriptor, which is for reading: {way}", self._path)

    if not TYPE_CHECKING:

        def __aiter__(self) -> NoReturn:
            raise TypeError("a file comes in pieces of bytes: write `async for piece in file.chunks():`")

        __iter__ = __aiter__


class Opened(AsyncBlockOnly, AbstractAsyncContextManager[File]):
    _block = "fs.open(...) as file"

    def __init__(self, path: StrPath, mode: str, durable: bool) -> None:
        self._shown = plain(path)
        self._path, self._mode, self._durable = path, mode, durable
        self._held: _native.OpenFile | None = None

    async def __aenter__(self) -> File:
        if self._held is not None:
            raise RuntimeError("an fs.open() is entered once: make another")
        self._held = await _native.fs_open(self._path, self._mode)
        return File(self._shown, self._held, self._mode)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._held is not None
        if isinstance(error, GeneratorExit):
            self._held = None  # dropped, it is closed
            return
        await ended(self._held.close(error is None, self._durable), error)
