"""Runtime: what owns work that nobody awaits, and stops it in order."""

import asyncio
import contextlib
import inspect
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import Token, copy_context
from math import inf
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TypeVar, cast, final, overload

from .._effect import children as _children
from .._effect import threads as _threads
from .._effect.misused import AsyncBlock
from .._effect.need import Key, check_key, shown
from .._native import Effect, PermitContext, Scope, accepted_var, apart, deadline_var, scope_var, serving_var
from .._services.graph import Make, Provider
from .._services.provided import Maker, TypeKey
from .._services.services import Services
from .._shutdown.clock import Clock
from .._shutdown.report import ShutdownReport, Step
from .._shutdown.settings import Shutdown
from .._shutdown.steps import Steps
from .._tasks import scope as _scope
from .._tasks.dump import Dump, take
from .._tasks.exits import EXITS, Exit, carried, closing
from .._tasks.outlast import outlast
from .._tasks.stopping import Stopping
from .._tasks.users_errors import written
from ..errors import ConfigError, ShuttingDown
from ..policy._base import name_of
from ..policy._functions import takes_none
from ..policy._numbers import Seconds, count, seconds
from ..policy.concurrency import ConcurrencyLimit
from ..telemetry import _dashboard, _otel
from ..telemetry._health import Health
from .close import close
from .from_thread import call
from .statistics import Statistics, snapshot

__all__ = ["Runtime"]

S = TypeVar("S")
T = TypeVar("T")


@final
class Runtime(AsyncBlock, Scope):
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
        if workers is not None:
            count(workers, "Runtime", "workers")
        if max_in_flight is not None:
            count(max_in_flight, "Runtime", "max_in_flight")
        self._limit = None if max_in_flight is None else ConcurrencyLimit(max_in_flight, max_waiting=None)
        self._setup(workers, self._limit and self._limit._permits)
        self._pool = None if threads is None else _threads.Pool(count(threads, "Runtime", "threads"))
        self._settings = shutdown
        self.report = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: The loop's.
        self._thread: int | None = None
        self._token: Token[Scope | None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = Stopping()
        self._clock: Clock | None = None
        self._closing: asyncio.Task[None] | None = None
        self._services = Services()
        #: The task that enters it, until its services are up.
        self._entering: asyncio.Task[None] | None = None
        self._deferred: list[Callable[[], Awaitable[None]]] = []
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
        _scope.by_loop[self._loop] = self
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

    def _spawn_service(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return self._begin(work, name, self._serve)

    def _begin(self, work: Coroutine[Any, Any, None], name: str, enter: Callable[[], None]) -> "asyncio.Task[None]":
        """A task for services and what is deferred: they may await effects until they have ended."""
        context = copy_context()
        context.run(enter)
        task = apart(asyncio.create_task, self._exiting(work), name=name, context=context)
        return closing(task, work)

    async def _exiting(self, work: Coroutine[Any, Any, None]) -> None:
        """`work`, whose exit is the program's."""
        try:
            await carried(work)
        except Exit as exit:  # noqa: A001
            self._exits(exit.of)
            raise

    def _exits(self, error: BaseException) -> None:
        """Work of this runtime ends the program: everything stops in order, and then the block raises `error`."""
        if self._aborted:
            raise error  # at once
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

    def _refuse(self, effect: object, verb: str) -> NoReturn:
        close: Callable[[], None] | None = getattr(effect, "close", None)
        if close is not None:
            close()
        name = getattr(effect, "__name__", "")
        if self._phase == _scope.NEW:
            raise RuntimeError(
                f"{verb}() before the Runtime was entered: use `async with runtime:` or run(main, runtime=runtime)"
            )
        state = (
            "is closed: make a new Runtime"
            if self._phase == _scope.CLOSED
            else "is shutting down and takes no new work"
        )
        raise ShuttingDown(f"effect '{name}' was not started: its runtime {state}", effect=name)

    def _spawn(  # pyright: ignore[reportUnusedFunction] - called by submit, natively
        self, effect: Awaitable[T], name: str | None, within: PermitContext | None = None
    ) -> "asyncio.Task[T]":
        """A task of the runtime's own, for what is submitted; `within`, if who submits it holds something."""
        run = self._owned if self._limit is None else self._queued
        return self._task(run(effect) if within is None else _children.bound(run, effect, within), effect, name)

    def _task(self, work: Coroutine[Any, Any, T], effect: Awaitable[T], name: str | None) -> "asyncio.Task[T]":
        """Of the caller's context, without its deadline. An exit cancels it."""
        context = copy_context()
        context.run(self._accept)
        name = name or getattr(effect, "__name__", None)
        return apart(asyncio.create_task, work, name=name, context=context)

    async def _owned(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except EXITS as error:
            self._exits(error)
            raise asyncio.CancelledError(f"it raised {written(error)}") from None

    async def _queued(self, effect: Awaitable[T]) -> T:
        assert self._limit is not None
        async with self._limit._slot_for(getattr(effect, "__name__", "effect")):
            return await self._owned(effect)

    def _start(  # pyright: ignore[reportUnusedFunction] - for run
        self, effect: Awaitable[T], name: str | None
    ) -> "asyncio.Task[T]":
        """Such a task without a handle: run's main."""
        task = self._task(self._owned(effect), effect, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accept(self) -> None:
        scope_var.set(self)
        accepted_var.set(self)
        deadline_var.set(None)

    def _serve(self) -> None:
        self._accept()
        accepted_var.set(None)
        serving_var.set(self)

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
        check_key(key, "Runtime.provide")
        owner = f"Runtime.provide({shown(key)})"
        times = (
            inf if given is None else seconds(given, owner, name)
            for name, given in (("start_timeout", start_timeout), ("stop_timeout", stop_timeout))
        )
        _check_make(make, owner)
        if fallback is not None:
            _check_make(fallback, f"{owner}: fallback")
        self._services.add(Provider(key, make, fallback, *times))
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
        if not callable(cast("Any", fn)):
            given = cast("object", fn)
            called = (
                "the function itself, which is called at shutdown" if isinstance(given, Awaitable) else "a function"
            )
            raise ConfigError(f"Runtime.defer({fn!r}): must be {called}, and gives an awaitable: write defer(close)")
        if not takes_none(fn):
            bound = f"lambda: {name_of(fn)}(...)"
            raise ConfigError(f"Runtime.defer({name_of(fn)}): is called without arguments: write defer({bound})")
        self._deferred.append(fn)

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
        pool = self._pool or _threads.default_pool()
        handles: list[Any] = self._in_flight()
        return take(self._loop, at_work, handles, pool.all_running())

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
            self.report = await close(self, clock)
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

    def _pending(  # pyright: ignore[reportUnusedFunction] - for the shutdown
        self,
    ) -> "list[asyncio.Future[Any]]":
        """What it owns and has not ended."""
        handles: list[Any] = self._in_flight()
        return [work for work in (*self._tasks, *handles) if not work.done()]

    def _forget_loop(self) -> None:  # pyright: ignore[reportUnusedFunction] - likewise
        if self._loop is not None and _scope.by_loop.get(self._loop) is self:
            del _scope.by_loop[self._loop]


def _check_make(make: Make, owner: str) -> None:
    given = cast("Any", make)
    if inspect.isasyncgenfunction(given):
        raise ConfigError(
            f"{owner}: {shown(given)} is an async generator function: decorate it with contextlib.asynccontextmanager"
        )
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise ConfigError(f"{owner}: {given!r} must be a function that gives an async context manager")
