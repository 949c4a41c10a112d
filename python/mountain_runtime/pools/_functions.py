"""The functions that a call has begun on threads: each is asked to stop, and looked after until it has."""

import asyncio
import time
from collections.abc import Callable

from .._effect.stoppable import Stoppable

__all__ = ["came_back", "watch"]

#: Seconds in which functions on threads are to come back, and between two looks.
_GRACE, _LOOK = 0.5, 0.01


async def came_back(begun: list[Stoppable]) -> bool:
    """Asks functions to stop. False: one is still at work after the grace."""
    until = time.monotonic() + _GRACE
    for each in begun:
        each.stop()
    while any(each.at_work for each in begun) and time.monotonic() < until:
        try:
            await asyncio.sleep(_LOOK)
        except asyncio.CancelledError:
            continue  # the call ends anyway
    return not any(each.at_work for each in begun)


async def watch(begun: list[Stoppable], stuck: Callable[[], object]) -> None:
    """Ends functions whose attempt was given up, while the call goes on. `stuck` hears of one that does not end."""
    while True:
        await asyncio.sleep(_GRACE / 5)
        left = [each for each in begun if each.at_work and each.handle is not None and each.handle.cancelled()]
        if left and not await came_back(left):
            stuck()
