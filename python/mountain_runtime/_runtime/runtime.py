"""Runtime: the block that owns submitted work and services, and stops both in order."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Token
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast, final, overload

from .._effect.misused import AsyncBlock
from .._effect.need import Key
from .._native import Effect, Scope, accepted_var, scope_var
from .._services.graph import provider
from .._services.provided import Maker, TypeKey
from .._shutdown.report import ShutdownReport
from .._shutdown.settings import Shutdown
from .._tasks import scope as _scope
from .._tasks.dump import Dump
from .._tasks.outlast import outlast
from ..errors import ConfigError, ShuttingDown
from ..policy._given import shown, to_make
from ..policy._numbers import Seconds
from ..telemetry import _dashboard, _otel
from ..telemetry._health import Health
from .closing import Closing
from .from_thread import call
from .statistics import Statistics, snapshot

__all__ = ["Runtime"]

S = TypeVar("S")
T = TypeVar("T")


@final
class Runtime(AsyncBlock, Closing):
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
        given = cast("object", shutdown)
        if not isinstance(given, Shutdown):
            seconds = isinstance(given, (int, float, timedelta)) and not isinstance(given, bool)
            way = f": write Shutdown(deadline={given!r})" if seconds else to_make(given, Shutdown)
            raise ConfigError(f"Runtime(shutdown={shown(given)}): must be a Shutdown(...){way}")
        super().__init__(shutdown, workers, threads, max_in_flight)
        self._token: Token[Scope | None] | None = None
        self._address = dashboard

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
        self._services.changed()
        if self._services.any():
            await self._start_services()
        return self

    async def _start_services(self) -> None:
        """Returns when all are up. If one does not start, unwinds those that did and raises the first error."""
        self._entering = self._spawn_service(self._services.start(self._spawn_service), "start services")
        try:
            await self._entering
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        finally:
            self._entering = None

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
            # A block that was entered in another context, as by a fixture, has set nothing here.
            with contextlib.suppress(ValueError):
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
        """`await effect`, in this runtime. Raises ShuttingDown where it takes no new work, and closes the effect."""
        if not self._admits():
            self._refuse(effect, "run")
        tokens = scope_var.set(self), accepted_var.set(self)
        try:
            return await effect
        finally:
            with contextlib.suppress(ValueError):  # a collected coroutine is closed in another context
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
        """A service for code that needs `key`: `make()` is entered when the runtime is, and left when it stops.

        The needs of `make`, by `need` in its signature, start before it and stop after it. `start_timeout` and
        `stop_timeout` are seconds; a stop has its share of the shutdown's time at most, however long the latter.
        With a `fallback`, a primary that does not start, ends by itself, or whose attribute `breaker` is open is
        replaced by what that makes, and tried again in the background. Services that were given a value keep it.
        A ConfigError says what of it cannot work; a RuntimeError, that the runtime was entered already.
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
        """The state of the runtime and its services, as plain data; `ready` is false once the shutdown has begun."""
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
        """The work under way on the runtime's loop: its state, what it waits on, and where its Python code stands.

        From the loop's own thread it is exact; from another one it is as good as a look from outside.
        """
        return self._dump_now()

    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self._stopping.is_set()

    async def wait_stopping(self) -> None:
        """Waits until the shutdown begins."""
        await self._stopping.wait()
