"""`priority`: how urgent a block of code is, and all that it awaits or starts."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import IntEnum
from typing import cast

from ._native import has_priorities, priority_var
from .errors import ConfigError

__all__ = ["Priority", "priority"]


class Priority(IntEnum):
    """How urgent a call is where calls wait for a place: for a ConcurrencyLimit, a worker thread, native files."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


def priority(p: Priority, /) -> AbstractContextManager[None]:
    """`with priority(Priority.HIGH):` goes for each call in its block, and for the tasks that are made there.

    Where calls wait, the highest goes first, first come, first served; but a lower one that was passed over often
    enough goes next, so that none waits for ever (see `ConcurrencyLimit`).
    """
    given = cast("object", p)
    if not isinstance(given, int) or isinstance(given, bool) or given not in tuple(Priority):
        raise ConfigError(f"priority({p!r}): must be Priority.LOW, Priority.NORMAL or Priority.HIGH")
    return _block(Priority(given))


@contextmanager
def _block(p: Priority) -> Generator[None]:
    has_priorities()
    token = priority_var.set(p)
    try:
        yield
    finally:
        with suppress(ValueError):  # closed in another context, as what a loop leaves behind is
            priority_var.reset(token)
