"""The end of a runtime: begun once, by its block, a signal or an exit, and hurried by the next of these."""

import asyncio
import time
from typing import Any

from .._services.services import Services
from .._shutdown.clock import Clock
from .._shutdown.report import ShutdownReport, Step
from .._shutdown.settings import Shutdown
from .._shutdown.steps import Steps
from .._tasks import scope as _scope
from .._tasks.flag import Flag
from ..telemetry import _dashboard
from .close import close
from .deferred import Deferred
from .owner import Owner

__all__ = ["Closing"]


class Closing(Owner):
    """An owner with what else is closed with it: services, deferred functions, a page."""

    def __init__(self, settings: Shutdown, workers: int | None, threads: int | None, max_in_flight: int | None) -> None:
        super().__init__(workers, threads, max_in_flight)
        self.report: ShutdownReport | None = None
        self._settings = settings
        self._services = Services()
        self._deferred = Deferred()
        self._page: _dashboard.Page | None = None
        #: Set as soon as the shutdown begins.
        self._stopping = Flag()
        self._clock: Clock | None = None
        self._closing: asyncio.Task[None] | None = None
        self._steps: Steps | None = None
        #: The task that starts its services, until they are up.
        self._entering: asyncio.Task[None] | None = None
        #: The task that runs the block, until it leaves.
        self._holder: asyncio.Task[Any] | None = None
        #: The exit that work of the runtime's own raised to end the program.
        self._exit: BaseException | None = None
        #: The program was told twice to end: an exit goes through the event loop at once.
        self._aborted = False

    def _exits(self, error: BaseException) -> None:
        """Work of this runtime ends the program: everything stops in order, and then the block raises `error`."""
        if self._aborted:
            super()._exits(error)
        if self._exit is None:
            self._exit = error
        _ = self._begin_close(drain=False)
        self._stop_draining()
        if (holder := self._holder) is not None:
            self._holder = None
            holder.cancel()

    def _begin_close(self, *, drain: bool) -> "asyncio.Task[None]":
        """The task of the shutdown, which the first call begins; `drain` as that says."""
        if self._closing is None:
            if self._entering is not None:  # not ready yet: services that have started are unwound at once
                self._entering.cancel()
                drain = False
            self._clock = clock = Clock(self._settings, drain)
            self._closing = asyncio.create_task(self._close(clock), name="mountain-runtime shutdown")
            self._stopping.set()
            self._services.changed()
        return self._closing

    def _stop_draining(self) -> None:
        """Work in flight is cancelled now, if the shutdown has begun."""
        if self._clock is not None:
            self._clock.stop_draining()

    def _abort(self) -> None:
        """The shutdown ends at once."""
        self._aborted = True
        if self._clock is not None:
            self._clock.abort()

    async def _close(self, clock: Clock) -> None:
        try:
            self._steps = steps = Steps(clock, self._dump_now)
            self.report = await close(self, self._services, self._deferred, clock, steps)
        finally:
            self._close_page()

    def _close_page(self) -> None:
        if self._page is not None:
            self._page.close()

    def _shutdown_so_far(self) -> "tuple[str, float, float, list[tuple[Step, bool]]] | None":
        """For the page: its phase, when it began and when it has to end as times of day, and its steps."""
        if self._clock is None or self._steps is None:
            return None
        day = time.time() - self._clock.now()
        phases = {_scope.DRAINING: "draining", _scope.CANCELLING: "stopping", _scope.CLOSED: "closed"}
        phase = phases.get(self._phase, "announcing")
        return phase, day + self._clock.began, day + min(self._clock.end, 1e12), self._steps.so_far()
