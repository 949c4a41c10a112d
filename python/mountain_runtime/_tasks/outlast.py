"""Waits for the end of what was started, which a cancel does not cut short."""

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

    A cancelled scope of anyio's asks again in each turn of the loop: that is one request. `asked` says that it came
    before.
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
    """A block of cleanup after `error`: if that is a cancel, cancelled scopes of anyio leave the block alone."""
    return _shield() if isinstance(error, asyncio.CancelledError) else contextlib.nullcontext()


def shield_if_asked() -> AbstractContextManager[object] | None:
    """In a step of a task: a block, entered, that cancelled scopes of anyio's leave alone. None where there is none."""
    if "anyio._backends._asyncio" not in sys.modules or sys.modules["anyio"].current_effective_deadline() > -inf:
        return None
    shield = _shield()
    shield.__enter__()
    return shield


def _shield() -> AbstractContextManager[object]:
    """Every other cancel reaches the task. Nothing else stops a cancelled scope from keeping the loop awake."""
    if "anyio._backends._asyncio" not in sys.modules:
        return contextlib.nullcontext()  # there is none
    shield: AbstractContextManager[object] = sys.modules["anyio"].CancelScope(shield=True)
    return shield
