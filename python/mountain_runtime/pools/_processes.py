"""Processes: a pool of worker processes on this machine."""

import asyncio
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast, final

from .._effect.remote import Remote, cannot_be_found
from .._native import Handle, Job
from .._runtime.runtime import Runtime
from .._tasks import scope as _scope
from .._tasks.outlast import outlast
from ..errors import ConfigError, QueueFull
from ..policy._arguments import check_name
from ..policy._forks import note
from ..policy._numbers import count
from . import _start
from ._call import Call
from ._manager import Manager
from ._pool import Pool, PoolStatistics
from ._settings import Settings
from ._workers import GRACE

__all__ = ["Processes"]

#: This is a worker that imports the program.
importing = False


@final
class Processes(Pool):
    """Worker processes on this machine, as many as there are cores unless `workers` says otherwise.

    Each hosts a whole Runtime, made there by `runtime`, a function of a module: services for `need`, limits, caches. It
    runs `per_worker` calls at a time: 1 for work that computes, more for work that waits. Of calls that wait for a
    worker the most urgent is next; beyond `max_waiting` they are refused with `errors.QueueFull`.

    A call that is cancelled, or whose time is over, ends before its caller goes on: a coroutine is cancelled and its
    cleanup awaited; a function gets a CancelledError where it stands, and half a second later its worker is killed and
    replaced. A worker that ends by itself is `errors.WorkerLost` for what it had begun.

    A worker that has had `max_calls`, or takes more than `max_memory` bytes, is replaced between two calls.
    """

    _block = "pools.Processes()"

    def __init__(
        self,
        workers: int | None = None,
        *,
        per_worker: int = 1,
        max_waiting: int = 100_000,
        max_calls: int | None = None,
        max_memory: int | None = None,
        runtime: Callable[[], Runtime] | None = None,
        name: str = "processes",
    ) -> None:
        owner = "Processes"
        if workers is None:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        check_name(name, owner)
        for given, setting in ((max_calls, "max_calls"), (max_memory, "max_memory")):
            if given is not None:
                count(given, owner, setting)
        if runtime is not None and not callable(cast("object", runtime)):
            raise ConfigError(f"Processes(runtime={runtime!r}): must be a function that makes a Runtime")
        self.name = name
        self._settings = Settings(
            name,
            count(workers, owner, "workers"),
            count(per_worker, owner, "per_worker"),
            count(max_waiting, owner, "max_waiting"),
            max_calls,
            max_memory,
            runtime,
        )
        self._lock = threading.Lock()
        self._manager: Manager | None = None
        self._lost = 0
        note(self)

    def __repr__(self) -> str:
        return f"Processes({self._settings.workers}, name={self.name!r})"

    async def __aenter__(self) -> Self:
        """Starts all workers. Raises errors.NoWorkers where they do not start."""
        job = Job(_started, (), {}, f"start of pool {self.name}")
        self._running().ask("start", job)
        await job.handle
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self._close(_start.STOP)

    def statistics(self) -> PoolStatistics:
        """A snapshot. Calls and workers of a pool that was closed and started again count on."""
        manager = self._manager
        if manager is None:
            return PoolStatistics(0, 0, 0, self._lost)
        workers, running = manager.statistics()
        return PoolStatistics(workers, running, manager.waiting, self._lost + manager.lost)

    def _running(self) -> Manager:
        """The manager, which this starts. The runtime of the current code then closes the pool."""
        if importing:
            raise ConfigError(
                f"pool {self.name!r} is used while a worker imports the program, which would begin itself again: put "
                'the call under `if __name__ == "__main__":`'
            )
        with self._lock:
            if self._manager is None:
                self._manager = Manager(self._settings)
                if (scope := _scope.current()) is not None:
                    cast("Runtime", scope)._pools.append(self)
            return self._manager

    def _call(self, remote: Remote, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Handle[Any]":
        if (why := cannot_be_found(remote)) is not None:
            raise ConfigError(f"On({self.name}) cannot run {remote.name}: {why}", effect=remote.name)
        manager = self._running()
        call = _made(remote, args, kwargs, manager.cancel)
        if manager.waiting >= self._settings.max_waiting:
            raise QueueFull(
                f"{self._settings.max_waiting} calls wait for pool {self.name!r} already: shed load, try later, or "
                "give it more workers",
                effect=remote.name,
                policy=f"On({self.name})",
            )
        manager.submit(call)
        return call.job.handle

    async def _close(self, seconds: float) -> list[str]:
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is None:
            return []
        job = Job(_ended, (), {}, f"end of pool {self.name}")
        manager.ask("close", (max(seconds - GRACE, 0.0), job))
        closing = cast("asyncio.Future[list[str]]", job.handle)
        cancelled = await outlast([closing], asked=False)
        manager.join()
        self._lost += manager.lost
        if cancelled is not None:
            raise cancelled
        return closing.result()

    def _after_fork(self) -> None:  # pyright: ignore[reportUnusedFunction] - called for all that is noted
        """The workers are the parent's: a call in the child starts others."""
        manager, self._manager = self._manager, None
        self._lock = threading.Lock()
        if manager is not None:
            manager.abandon()


def _made(remote: Remote, args: tuple[Any, ...], kwargs: dict[str, Any], ask: Callable[[Call], object]) -> Call:
    """The call; of what cannot be pickled the argument is named."""
    try:
        return Call(remote, args, kwargs, ask)
    except Exception as error:
        import inspect
        import pickle

        try:
            arguments: dict[str, object] = inspect.signature(remote.fn).bind(*args, **kwargs).arguments
        except (TypeError, ValueError):
            arguments = dict(enumerate(args)) | kwargs  # type: ignore[assignment]
        for name, value in arguments.items():
            try:
                pickle.dumps(value, 5)
            except Exception as of:
                raise pickle.PicklingError(f"argument '{name}' of {remote.name} cannot be pickled: {of}") from error
        raise


def _started() -> None: ...


def _ended() -> None: ...
