"""`priority`: how urgent a block of code is, and all that it awaits or starts."""

from contextlib import AbstractContextManager, suppress
from contextvars import Token
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, cast

from .._native import has_priorities, priority_var
from ..errors import ConfigError

__all__ = ["Priority", "priority"]


class Priority(IntEnum):
    """How urgent a call is where calls wait for a place: for a ConcurrencyLimit, a RateLimit, a worker thread,
    native files.
    """

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
    return _Block(Priority(given))


class _Block(AbstractContextManager[None]):
    __slots__ = ("_priority", "_token")

    def __init__(self, p: Priority) -> None:
        self._priority = p
        self._token: Token[int] | None = None

    if not TYPE_CHECKING:  # type checkers say by themselves that it is no asynchronous block

        async def __aenter__(self) -> NoReturn:
            raise TypeError("priority() is a plain block: write `with priority(...):`")

        async def __aexit__(self, *_: object) -> None: ...

    def __enter__(self) -> None:
        if self._token is not None:
            raise RuntimeError("a priority() is entered once: make another")
        has_priorities()
        self._token = priority_var.set(self._priority)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._token is not None
        with suppress(ValueError):  # a collected coroutine is closed in another context
            priority_var.reset(self._token)
