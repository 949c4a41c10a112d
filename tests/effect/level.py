"""Shared by the tests of anyio's cancels: work that cleans up, and a count of how often the loop is kept awake."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from .support import forever

#: A cleanup takes so long, in which a loop that is kept awake makes thousands of turns.
CLEANUP = 0.03
#: Turns of the loop that all of it may take.
TURNS = 150


class Work:
    """Its cleanup takes a while, and is whole when nothing cuts it. A scope is cancelled early in the cleanup."""

    def __init__(self, scope: anyio.CancelScope | None = None) -> None:
        self.begun = self.cleaned = 0
        self._scope = scope
        #: Called in the turn after the first has begun.
        self.at_begin: Callable[[], object] | None = None

    async def __call__(self, _: object = None) -> None:
        self.begun += 1
        if self.begun == 1 and self.at_begin is not None:
            asyncio.get_running_loop().call_soon(self.at_begin)
        try:
            await forever()
        finally:
            if self._scope is not None:
                asyncio.get_running_loop().call_later(CLEANUP / 3, self._scope.cancel)
            await asyncio.sleep(CLEANUP)
            self.cleaned += 1


def selects(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The timeouts with which the loop's selector was asked: 0 each time when something keeps it awake."""
    asked: list[float | None] = []
    selector: Any = loop._selector  # type: ignore[attr-defined]
    select = selector.select

    def noted(timeout: float | None = None) -> Any:
        asked.append(timeout)
        return select(timeout)

    monkeypatch.setattr(selector, "select", noted)
    return asked
