"""The base class of pools: workers that effects run on."""

import abc
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._effect.misused import AsyncBlock

if TYPE_CHECKING:
    from .._effect.remote import Remote

__all__ = ["Pool", "PoolStatistics"]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool as it is now."""

    #: Workers that are there, those that are about to be ready among them.
    workers: int
    #: Calls that a worker has.
    running: int
    #: Calls that wait for one.
    waiting: int
    #: Workers that have ended unasked, or had to be ended, since the pool was made.
    lost: int


class Pool(AsyncBlock, abc.ABC):
    """Workers that effects run on, by `On(pool)`.

    The first effect that needs one starts them, or `async with pool:` does. The runtime that they were started in
    closes the pool after what uses it; without one the block does, or the end of the program.
    """

    name: str

    @abc.abstractmethod
    def statistics(self) -> PoolStatistics:
        """A snapshot."""

    @abc.abstractmethod
    def _call(self, remote: "Remote", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """Runs a call on a worker. It is cancelled as it ends there."""

    @abc.abstractmethod
    async def _close(self, seconds: float) -> list[str]:
        """Ends its workers within so many seconds; gives what of them did not end in order."""
