"""A file of lines with a bound: appended to, whole lines only, and rotated once."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Appending"]

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
#: Bytes of one write.
_CHUNK = 1 << 20


class Appending:
    """`path` has `most` bytes at most, and so has `path.1`, which has the lines before."""

    def __init__(self, path: str, most: int) -> None:
        self._path = path
        self._most = most
        self._fd = -1

    def append(self, lines: list[bytes]) -> tuple[int, OSError | None]:
        """How many of the lines were not written, and why."""
        lost, why = 0, None
        for chunk in self._chunks(lines):
            try:
                if sum(map(len, chunk)) > self._most:
                    raise OSError("a line is longer than half of the bound")
                self._write(b"".join(chunk))
            except OSError as error:
                lost, why = lost + len(chunk), error
                self.close()
        return lost, why

    def _chunks(self, lines: list[bytes]) -> Iterator[list[bytes]]:
        chunk: list[bytes] = []
        size = 0
        for line in lines:
            if chunk and size + len(line) > min(self._most, _CHUNK):
                yield chunk
                chunk, size = [], 0
            chunk.append(line)
            size += len(line)
        if chunk:
            yield chunk

    def _write(self, data: bytes) -> None:
        size = self._opened()
        if size and size + len(data) > self._most:
            self.close()
            Path(self._path).replace(self._path + ".1")
            size = self._opened()
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            with contextlib.suppress(OSError):  # no half of a line stays
                os.ftruncate(self._fd, size)
            raise

    def _opened(self) -> int:
        """Its size, when it is the file at the path, and ends with a whole line."""
        if self._fd >= 0 and not self._is_there():
            self.close()
        if self._fd < 0:
            self._fd = os.open(self._path, _FLAGS, 0o600)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{self._path} is no regular file")
        size = found.st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":  # torn by a kill
            size += os.write(self._fd, b"\n")
        return size

    def _is_there(self) -> bool:
        """Neither moved away nor deleted."""
        try:
            return os.path.samestat(os.fstat(self._fd), Path(self._path).stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """It is opened again by the next lines."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """In the child of a fork, where its number may be another file's: the parent was closing it, perhaps."""
        self._fd = -1

    def __del__(self) -> None:
        self.close()
