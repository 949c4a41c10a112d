"""Memory files that are written again: pages that are there already cost less than half of new ones."""

import os
import time

from ._packing import Packed

__all__ = ["Files"]

#: Files that are kept, and seconds without use after which they are not.
_KEPT, _IDLE = 2, 1.0


class Files:
    """The files of one process, from any thread. One that its receiver maps is not used again."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._used = 0.0

    def write(self, packed: Packed) -> int:
        """A file with the pieces of a large object."""
        self._used = time.monotonic()
        fd = None if packed.maps else self._take()
        if fd is None:
            fd = os.memfd_create("mountain", os.MFD_CLOEXEC)
        try:
            packed.write(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _take(self) -> int | None:
        try:
            return self._free.pop()
        except IndexError:
            return None

    def give_back(self, fd: int, packed: Packed) -> None:
        """A file that its receiver has read, or never will."""
        if packed.maps or len(self._free) >= _KEPT:
            os.close(fd)
        else:
            self._free.append(fd)

    def forget(self, *, all: bool = False) -> None:  # noqa: A002
        """Closes those that were not used of late, or all."""
        if self._free and (all or time.monotonic() - self._used > _IDLE):
            free, self._free = self._free, []
            for fd in free:
                os.close(fd)
