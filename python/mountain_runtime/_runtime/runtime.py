"""Runtime: what owns work that nobody awaits, and stops it in order."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Token
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar, final, overload

from .._effect.misused import AsyncBlock
from .._effect.need import Key
from .._native import Effect, Scope, accepted_var, apart, scope_var
from .._services.graph import provider
from .._services.provided import Maker, TypeKey
from .._services.services import Services
from .._shutdown.clock import Clock
from .._shutdown.report import ShutdownReport, Step
from .._shutdown.settings import Shutdown
from .._shutdown.steps import Steps
from .._tasks import scope as _scope
from .._tasks.dump import Dump, take
from .._tasks.outlast import outlast
from .._tasks.stopping import Stopping
from ..errors import ConfigError, ShuttingDown
from ..policy._numbers import Seconds
from ..telemetry import _dashboard, _otel
from ..telemetry._health import Health
from .close import close
from .deferred import Deferred
from .from_thread import call
from .owner import Owner
from .statistics import Statistics, snapshot

__all__ = ["Runtime"]

S = TypeVar("S")
T = TypeVar("T")


@final
class Runtime(AsyncBlock, Owner):
    """`async with Runtime() as rt:` owns what is submitted to it. It is entered once.

    None is needed to await an effect. A clean exit drains what was submitted, an exception cancels it; `report` then
    says how that went. `workers` are native threads of its own, `threads` its own for blocking functions; both are
    otherwise shared. Of what is submitted at most `max_in_flight` is at work at a time; the rest waits, by priority.
    `dashboard="127.0.0.1:9600"` serves a live page there, with `/metrics`, `/livez` and `/readyz`; an address that
    others can reach has a token, `"token@0.0.0.0:9600"`, or one that is made and logged.
    """

    _block = "Runtime() as rt"

    #: How the shutdown went, once there was one.
    report: ShutdownReport | None

    def __init__(
        self,
        *,
        workers: int | None = None,
        threads: int | None = None,
        max_in_flight: int | None = None,
        shutdown: Shutdown = Shutdown(),  # noqa: B008
        dashboard: str | None = None,
    ) -> None:
        if dashboard is not None:
            _dashboard.check(dashboard)
        if not isinstance(shutdown, Shutdown):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Runtime(shutdown={shutdown!r}): must be a Shutdown(...)")
        super().__init__(workers, threads, max_in_flight)
        self._settings = shutdown
        self.report = None
        #: The id of the loop's thread.
        self._thread: int | None = None
        self._token: Token[Scope | None] | None = None
        self._stopping = Stopping()
        self._clock: Clock | None = None
        self._closing: asyncio.Task[None] | None = None
        self._services = Services()
        #: The task that enters it, until its services are up.
        self._entering: asyncio.Task[None] | None = None
        self._deferred = Deferred()
        self._address = dashboard
        self._page: _dashboard.Page | None = None
        self._steps: Steps | None = None
        #: The task whose block this is, until it leaves.
        self._holder: asyncio.Task[Any] | None = None
        #: What work of its own raised to end the program.
        self._exit: BaseException | None = None
        #: The program was told twice to end: an exit goes through the event loop at once.
        self._aborted = False

    # -- the block --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._phase != _scope.NEW:
            raise RuntimeError("a Runtime is entered once: make another")
        self._services.check()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._holder = asyncio.current_task()
        _otel.look()
        if self._address is not None:
            self._page = _dashboard.Page(self, self._address)
            self._services.changed = self._page.push
        try:
            self._enter()
        except BaseException:
            self._close_page()
            raise
        self._token = scope_var.set(self)
        if self._page is not None:
            self._page.push()
        if self._services.any():
            await self._start_services()
        return self

    async def _start_services(self) -> None:
        """All are up. If not, what had started is unwound, and the first error raised."""
        self._entering = self._spawn_service(self._services.start(self._spawn_service), "start services")
        try:
            await self._entering
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        finally:
            self._entering = None

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        holder, self._holder = self._holder, None
        closing = self._begin_close(drain=error is None)
        if error is not None:
            self._stop_draining()
        asked = False

        def notice() -> None:
            """The first cancel ends the drain, the second the cleanup."""
            nonlocal asked
            if asked:
                self._abort()
            else:
                self._stop_draining()
            asked = True

        cancelled = await outlast([closing], asked=isinstance(error, asyncio.CancelledError), notice=notice)
        if self._token is not None:
            with contextlib.suppress(
                ValueError
            ):  # entered in another context, as fixtures do: there is nothing to reset here
                scope_var.reset(self._token)
        closing.result()
        if self._exit is not None:
            if holder is None and (task := asyncio.current_task()) is not None:
                task.uncancel()  # the cancel was ours
            try:
                raise self._exit
            finally:
                del self._exit, cancelled
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled

    # -- work -------------------------------------------------------------------------------------------------------

    async def run(self, effect: Awaitable[T], /) -> T:
        """`await effect`, in this runtime."""
        if not self._admits():
            self._refuse(effect, "run")
        tokens = scope_var.set(self), accepted_var.set(self)
        try:
            return await effect
        finally:
            scope_var.reset(tokens[0])
            accepted_var.reset(tokens[1])

    def from_thread(self, effect: Effect[T], /) -> T:
        """Runs an effect on this runtime's loop, from a thread that runs none, and waits for it. Ctrl-C cancels it."""
        return call(self, effect)

    # -- services ---------------------------------------------------------------------------------------------------

    @overload
    def provide(
        self,
        key: Key[S],
        make: Callable[..., AbstractAsyncContextManager[S]],
        /,
        *,
        fallback: Callable[..., AbstractAsyncContextManager[S]] | None = None,
        start_timeout: Seconds | None = None,
        stop_timeout: Seconds | None = None,
    ) -> Self: ...
    @overload
    def provide(
        self,
        key: TypeKey[S] | type[S],
        make: Maker[S],
        /,
        *,
        fallback: Maker[S] | None = None,
        start_timeout: Seconds | None = None,
        stop_timeout: Seconds | None = None,
    ) -> Self: ...
    def provide(
        self,
        key: Any,
        make: Any,
        /,
        *,
        fallback: Any = None,
        start_timeout: Seconds | None = None,
        stop_timeout: Seconds | None = None,
    ) -> Self:
        """A service for whoever needs `key`: `make()` is entered when the runtime is, and left when it stops.

        What `make` needs, by `need` in its signature, starts before it and stops after it. `start_timeout` and
        `stop_timeout` are seconds; however long the latter, a stop has no more than its share of the shutdown's time.
        With a `fallback`, a primary that does not start, ends by itself, or whose attribute `breaker` is open is
        replaced by what that makes, and tried again in the background. Services that were given a value keep it.
        """
        if self._phase != _scope.NEW:
            raise RuntimeError("provide() after the Runtime was entered: services are known before")
        self._services.add(provider(key, make, fallback, start_timeout, stop_timeout))
        return self

    def get(self, key: Key[S] | Callable[..., S], /) -> S:
        """The service under `key`, as it is now; `errors.ServiceMissing` if there is none, or it is not up."""
        found: S = self._services.get(key, "Runtime.get()")
        return found

    def health(self) -> Health:
        """How it is, as plain data: `ready` goes false as soon as the shutdown begins."""
        services = self._services.health()
        usable = all(each.state in ("up", "degraded") for each in services.values())
        ready = self._phase == _scope.RUNNING and not self._stopping.is_set() and usable
        return Health(live=self._phase != _scope.CLOSED, ready=ready, services=services)

    def defer(self, fn: Callable[[], Awaitable[None]], /) -> None:
        """Calls `fn` at shutdown, when no work is left and the services are still up; the last added first."""
        if self._phase == _scope.CLOSED:
            raise ShuttingDown("Runtime.defer(): the runtime is closed")
        self._deferred.add(fn)

    # -- what is known ----------------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """A snapshot of the process; the names are those of the effects."""
        return snapshot()

    def dump(self) -> Dump:
        """What is under way on the runtime's loop: what it does, on what it waits, and where its Python code stands.

        From the loop's own thread it is exact; from another one it is as good as a look from outside.
        """
        own = self._thread == threading.get_ident()
        return self._dump_from(None if own or self._thread is None else sys._current_frames().get(self._thread))

    def _dump_from(self, at_work: FrameType | None) -> Dump:
        """The same for who looks from outside, and knows where the loop's thread is."""
        handles: list[Any] = self._in_flight()
        return take(self._loop, at_work, handles, self._pool.all_running())

    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self._stopping.is_set()

    async def wait_stopping(self) -> None:
        """Waits until the shutdown begins."""
        await self._stopping.wait()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _begin_close(self, *, drain: bool) -> "asyncio.Task[None]":
        if self._closing is None:
            if self._entering is not None:  # nobody was told that it is ready: what has started is unwound at once
                self._entering.cancel()
                drain = False
            self._clock = clock = Clock(self._settings, drain)
            self._closing = apart(asyncio.create_task, self._close(clock), name="mountain-runtime shutdown")
            self._stopping.set()
            if self._page is not None:
                self._page.push()
        return self._closing

    def _stop_draining(self) -> None:
        if self._clock is not None:
            self._clock.stop_draining()

    def _abort(self) -> None:
        self._aborted = True
        if self._clock is not None:
            self._clock.abort()

    async def _close(self, clock: Clock) -> None:
        try:
            self._steps = steps = Steps(clock, self.dump)
            self.report = await close(self, self._services, self._deferred, clock, steps)
        finally:
            self._close_page()

    def _close_page(self) -> None:
        if self._page is not None:
            self._page.close()

    def _shutdown_so_far(  # pyright: ignore[reportUnusedFunction] - for the page
        self,
    ) -> "tuple[str, float, float, list[tuple[Step, bool]]] | None":
        """Its phase, when it began and when it has to end as times of day, and its steps."""
        if self._clock is None or self._steps is None:
            return None
        day = time.time() - self._clock.now()
        phases = {_scope.DRAINING: "draining", _scope.CANCELLING: "stopping", _scope.CLOSED: "closed"}
        phase = phases.get(self._phase, "announcing")
        return phase, day + self._clock.began, day + min(self._clock.end, 1e12), self._steps.so_far()
