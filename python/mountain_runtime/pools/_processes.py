"""Processes: a pool of worker processes on this machine."""

import os
from collections.abc import Callable
from typing import ClassVar, final

from .._runtime.runtime import Runtime
from ..policy._numbers import count
from ._manager import Manager
from ._pool import Capabilities, Pool
from ._settings import Settings, check_runtime

__all__ = ["Processes"]


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
    capabilities: ClassVar[Capabilities] = Capabilities(apart=True, ends_functions=True, writable=True)

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
        super().__init__(name, max_waiting)
        owner = "Processes"
        if workers is None:
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for given, setting in ((max_calls, "max_calls"), (max_memory, "max_memory")):
            if given is not None:
                count(given, owner, setting)
        check_runtime(runtime, owner)
        self._settings = Settings(
            name,
            count(workers, owner, "workers"),
            count(per_worker, owner, "per_worker"),
            max_calls,
            max_memory,
            runtime,
        )

    def __repr__(self) -> str:
        return f"Processes({self._settings.workers}, name={self.name!r})"

    def _make(self) -> Manager:
        return Manager(self._settings)
