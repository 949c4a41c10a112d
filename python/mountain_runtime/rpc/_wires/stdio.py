"""Stdin and stdout as a wire: while it is open, what reads stdin finds nothing, and what prints goes to stderr."""

import os
import sys
from collections.abc import Callable

from .wire import FdWire

__all__ = ["open_stdio"]

_open = False


def open_stdio() -> FdWire:
    """Raises RuntimeError where they are served already, OSError where one is closed."""
    global _open
    if _open:
        raise RuntimeError("stdio: is served already: one router at a time has it")
    reads, writes = os.dup(0), os.dup(1)
    blocking = os.get_blocking(reads), os.get_blocking(writes)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # text that Python has printed and not yet written goes there, too
    for each in (reads, writes):
        os.set_blocking(each, False)
    _open = True
    return FdWire(reads, writes, _restore(reads, writes, blocking))


def _restore(reads: int, writes: int, blocking: tuple[bool, bool]) -> Callable[[], None]:
    def restore() -> None:
        global _open
        _open = False
        if sys.stdout is not None and not sys.stdout.closed:  # pyright: ignore[reportUnnecessaryComparison]
            sys.stdout.flush()
        for own, blocks, number in ((reads, blocking[0], 0), (writes, blocking[1], 1)):
            os.set_blocking(own, blocks)  # a terminal is that of other programs too
            os.dup2(own, number)
            os.close(own)

    return restore
