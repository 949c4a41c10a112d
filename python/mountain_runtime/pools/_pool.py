"""The base class of pools: workers that effects run on."""

import abc
import asyncio
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from .._effect.misused import AsyncBlock
from .._effect.remote import cannot_be_found
from .._native import Job
from .._tasks import scope as _scope
from .._tasks.outlast import outlast
from ..errors import ConfigError, QueueFull
from ..policy._arguments import check_name
from ..policy._forks import note
from ..policy._numbers import count
from ._call import made
from ._engine import Engine
from ._misused import PoolOnly
from ._settings import STOP

if TYPE_CHECKING:
    from .._effect.remote import Remote
    from .._native import Handle
    from .._runtime.runtime import Runtime

__all__ = ["Capabilities", "Pool", "PoolStatistics"]

#: This is a worker that imports the program.
importing = False


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


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The abilities in which kinds of pools differ."""

    #: Workers are processes: one may end by itself, and then its calls are `errors.WorkerLost`.
    apart: bool
    #: A function that does not stop is ended with its worker.
    ends_functions: bool
    #: An array among arguments and results is its receiver's own, which may write into it.
    writable: bool


class Pool(AsyncBlock, PoolOnly, abc.ABC):
    """Workers that effects run on, by `On(pool)`.

    The first effect that needs one starts them, or `async with pool:` does. The runtime that they were started in
    closes the pool after what uses it; without one the block does, or the end of the program.
    """

    name: str
    #: The abilities of this kind of pool.
    capabilities: ClassVar[Capabilities]

    def __init__(self, name: str, max_waiting: int) -> None:
        owner = type(self).__name__
        check_name(name, owner)
        self.name = name
        self._max_waiting = count(max_waiting, owner, "max_waiting")
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._lost = 0
        note(self)

    @abc.abstractmethod
    def _make(self) -> Engine:
        """A new engine: of the first call, and of the first one after a close."""

    async def __aenter__(self) -> Self:
        """Starts the workers. Raises errors.NoWorkers where they do not start; the pool is closed then."""
        job = Job(_started, (), {}, f"start of pool {self.name}")
        self._running().ask("start", job)
        try:
            await job.handle
        except BaseException:
            await self._close(STOP)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self._close(STOP)

    def statistics(self) -> PoolStatistics:
        """A snapshot. Calls and workers of a pool that was closed and started again count on."""
        engine = self._engine
        if engine is None:
            return PoolStatistics(0, 0, 0, self._lost)
        workers, running = engine.statistics()
        return PoolStatistics(workers, running, engine.waiting, self._lost + engine.lost)

    def _running(self) -> Engine:
        """The engine, which this starts. The runtime of the current code then closes the pool."""
        if importing:
            raise ConfigError(
                f"pool {self.name!r} is used while a worker imports the program, which would begin itself again: put "
                'the call under `if __name__ == "__main__":`'
            )
        with self._lock:
            if self._engine is None:
                self._engine = self._make()
                if (scope := _scope.current()) is not None:
                    cast("Runtime", scope)._pools.append(self)
            return self._engine

    def _call(self, remote: "Remote", args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Handle[Any]":
        """Runs a call on a worker. It is cancelled as it ends there."""
        if (why := cannot_be_found(remote)) is not None:
            raise ConfigError(f"On({self.name}) cannot run {remote.name}: {why}", effect=remote.name)
        engine = self._running()
        call = made(remote, args, kwargs, engine.cancel)
        if engine.waiting >= self._max_waiting:
            with engine.lock:
                engine.figures.refused += 1
            raise QueueFull(
                f"{self._max_waiting} calls wait for pool {self.name!r} already: shed load, try later, or give it more "
                "workers",
                effect=remote.name,
                policy=f"On({self.name})",
            )
        engine.submit(call)
        return call.job.handle

    async def _close(self, seconds: float) -> list[str]:
        """Ends its workers within so many seconds; gives what of them did not end in order."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is None:
            return []
        job = Job(_ended, (), {}, f"end of pool {self.name}")
        engine.ask("close", (seconds, job))
        closing = cast("asyncio.Future[list[str]]", job.handle)
        cancelled = await outlast([closing], asked=False)
        engine.join()
        self._lost += engine.lost
        if cancelled is not None:
            raise cancelled
        return closing.result()

    def _after_fork(self) -> None:  # pyright: ignore[reportUnusedFunction] - called for all that is noted
        """The workers are the parent's: a call in the child starts others."""
        engine, self._engine = self._engine, None
        self._lock = threading.Lock()
        if engine is not None:
            engine.abandon()


def _started() -> None: ...


def _ended() -> None: ...
