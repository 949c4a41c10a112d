"""Waiting that a cancel does not cut short, for the end of what was started."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from math import inf
from typing import Any

__all__ = ["outlast", "shield_if_asked", "shielded"]


async def outlast(
    futures: "Collection[asyncio.Future[Any]]", *, asked: bool, notice: Callable[[], None] = lambda: None
) -> asyncio.CancelledError | None:
    """Waits until all have ended. Gives the last cancel that came meanwhile; `notice` is called at each.

    A cancelled scope of anyio's cancels again in each turn of the loop, which counts as one cancel. `asked` says that
    the task was cancelled before.
    """
    cancelled: asyncio.CancelledError | None = None
    left: set[asyncio.Future[Any]] = {future for future in futures if not future.done()}
    with contextlib.ExitStack() as stack:
        if asked:
            stack.enter_context(_shield())
        while left:
            try:
                _, left = await asyncio.wait(left)
            except asyncio.CancelledError as error:
                if not asked:
                    asked = True
                    stack.enter_context(_shield())
                cancelled = error
                notice()
                left = {future for future in left if not future.done()}
    return cancelled


def shielded(error: BaseException | None) -> AbstractContextManager[object]:
    """A block for cleanup after `error`. If that is a cancel, cancelled scopes of anyio do not cancel the block."""
    return _shield() if isinstance(error, asyncio.CancelledError) else contextlib.nullcontext()


def shield_if_asked() -> AbstractContextManager[object] | None:
    """An entered block that cancelled scopes of anyio do not cancel; None where no such scope is around this step."""
    if "anyio._backends._asyncio" not in sys.modules or sys.modules["anyio"].current_effective_deadline() > -inf:
        return None
    shield = _shield()
    shield.__enter__()
    return shield


def _shield() -> AbstractContextManager[object]:
    """A shielded scope of anyio's. Other cancels reach the task; a cancelled scope does not keep the loop awake."""
    if "anyio._backends._asyncio" not in sys.modules:
        return contextlib.nullcontext()  # no scope exists
    shield: AbstractContextManager[object] = sys.modules["anyio"].CancelScope(shield=True)
    return shield
