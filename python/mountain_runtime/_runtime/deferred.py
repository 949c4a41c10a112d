"""The functions given to `Runtime.defer`, which a shutdown calls, the last added first."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from .._shutdown.clock import POLITE, Clock
from .._shutdown.steps import Steps
from ..errors import ConfigError
from ..policy._base import name_of
from ..policy._functions import takes_none
from ..policy._given import shown
from .in_flight import SHARE, InFlight
from .owner import Owner

__all__ = ["Deferred"]


class Deferred:
    """The functions that are still to be called; one that is called may add others."""

    def __init__(self) -> None:
        self._functions: list[Callable[[], Awaitable[None]]] = []

    def add(self, fn: Callable[[], Awaitable[None]]) -> None:
        """A ConfigError, unless `fn` can be called without arguments."""
        if not callable(cast("Any", fn)):
            given = cast("object", fn)
            called = (
                "the function itself, which is called at shutdown" if isinstance(given, Awaitable) else "a function"
            )
            raise ConfigError(
                f"Runtime.defer({shown(given)}): must be {called}, and gives an awaitable: write defer(close)"
            )
        if not takes_none(fn):
            bound = f"lambda: {name_of(fn)}(...)"
            raise ConfigError(f"Runtime.defer({name_of(fn)}): is called without arguments: write defer({bound})")
        self._functions.append(fn)

    def any(self) -> bool:
        """Whether a function is still to be called."""
        return bool(self._functions)

    async def call(self, owner: Owner, clock: Clock, steps: Steps, in_flight: InFlight) -> None:
        """Calls each in a step of its own, and ends what it submitted."""
        while self._functions:
            fn = self._functions.pop()
            name = f"defer {getattr(fn, '__qualname__', repr(fn))}"
            polite, last = clock.part(SHARE * POLITE), clock.part(SHARE)
            await steps.end(name, [owner._begin(_called(fn), name, owner._accept)], polite, last)
            await in_flight.end_late(name, SHARE)


async def _called(fn: Callable[[], Awaitable[None]]) -> None:
    work = fn()
    if not isinstance(work, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"Runtime.defer({name_of(fn)}): gave {type(work).__name__}, which cannot be awaited. Make it "
            "`async def`, or put @blocking on it"
        )
    await work
