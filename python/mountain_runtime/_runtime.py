"""Runtime: what owns work that nobody awaits, and stops it in order."""

import asyncio
import concurrent.futures
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Token, copy_context
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, final

from . import _children, _scope, _threads
from ._native import Effect, Scope, accepted_var, adopt, limit_var, scope_var
from ._shutdown import Clock, Shutdown, ShutdownReport, Steps
from ._statistics import Statistics, snapshot
from ._stopping import Stopping
from .errors import ConfigError, ShuttingDown
from .policy._numbers import count
from .policy.concurrency import ConcurrencyLimit

__all__ = ["Runtime"]

T = TypeVar("T")


@final
class Runtime(Scope):
    """`async with Runtime() as rt:` owns what is submitted to it. It is entered once.

    None is needed to await an effect. A clean exit drains what was submitted, an exception cancels it; `report` then
    says how that went. `workers` are native threads of its own, `threads` its own for blocking functions; both are
    otherwise shared. Of what is submitted at most `max_in_flight` is at work at a time; the rest waits, by priority.
    """

    #: How the shutdown went, once there was one.
    report: ShutdownReport | None

    def __init__(
        self,
        *,
        workers: int | None = None,
        threads: int | None = None,
        max_in_flight: int | None = None,
        shutdown: Shutdown = Shutdown(),  # noqa: B008
    ) -> None:
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
        self._token: Token[Scope | None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = Stopping()
        self._clock: Clock | None = None
        self._closing: asyncio.Task[None] | None = None

    # -- the block --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._phase != _scope.NEW:
            raise RuntimeError("a Runtime is entered once: make another")
        self._loop = asyncio.get_running_loop()
        self._enter()
        _scope.by_loop[self._loop] = self
        self._token = scope_var.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        closing = self._begin_close(drain=error is None)
        if error is not None:
            self._stop_draining()
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError as again:  # the first ends the drain, the second the cleanup
                if cancelled is None:
                    self._stop_draining()
                else:
                    self._abort()
                cancelled = again
        if self._token is not None:
            with contextlib.suppress(
                ValueError
            ):  # entered in another context, as fixtures do: there is nothing to reset here
                scope_var.reset(self._token)
        closing.result()
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled

    # -- work -------------------------------------------------------------------------------------------------------

    async def run(self, effect: Awaitable[T], /) -> T:
        """`await effect`, in this runtime."""
        if self._phase != _scope.RUNNING and not self._admits():
            self._refuse(effect, "run")
        tokens = scope_var.set(self), accepted_var.set(self)
        try:
            return await effect
        finally:
            scope_var.reset(tokens[0])
            accepted_var.reset(tokens[1])

    def from_thread(self, effect: Effect[T], /) -> T:
        """Runs an effect on this runtime's loop, from a thread that runs none, and waits for it. Ctrl-C cancels it."""
        if asyncio._get_running_loop() is not None:
            effect.close()
            raise RuntimeError(
                "from_thread() would block the event loop of this thread: write `await effect`, or submit(effect)"
            )
        loop = self._loop
        if loop is None or loop.is_closed():
            self._refuse(effect, "from_thread")
        result: concurrent.futures.Future[T] = concurrent.futures.Future()
        handles: list[asyncio.Future[T]] = []

        def begin() -> None:
            if result.done():
                return
            try:
                handle: Any = self.submit(effect) if self._phase == _scope.RUNNING else self._admitted(effect)
            except BaseException as error:
                effect.close()
                result.set_exception(error)
                return
            handles.append(handle)
            handle.add_done_callback(functools.partial(_hand_over, result))

        def cancel() -> None:
            for handle in handles:
                handle.cancel()
            if not handles:
                result.cancel()
                effect.close()

        copy_context().run(loop.call_soon_threadsafe, begin)
        try:
            # Looks up now and then: a loop that was closed will never answer.
            while not concurrent.futures.wait([result], timeout=1.0).done:
                if loop.is_closed():
                    raise ShuttingDown("the runtime's loop was closed before the effect ended", effect=effect.__name__)
            return result.result()
        except BaseException:
            if not result.done() and not loop.is_closed():
                loop.call_soon_threadsafe(cancel)
                concurrent.futures.wait([result], timeout=0.5)  # its cleanup, if that is short
            raise

    def _admitted(self, effect: Effect[T]) -> "asyncio.Task[T]":
        if not self._admits():
            self._refuse(effect, "from_thread")
        adopt(effect)
        return self._start(effect, None)

    def _admits(self) -> bool:
        """While it drains, what accepted work starts is let in."""
        return _scope.DRAINING <= self._phase < _scope.CLOSED and accepted_var.get(None) is self

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
        self, effect: Awaitable[T], name: str | None
    ) -> "asyncio.Task[T]":
        """A task of the runtime's own, for what is submitted."""
        return self._task(_children.awaited(effect) if self._limit is None else self._queued(effect), effect, name)

    def _task(self, work: Coroutine[Any, Any, T], effect: Awaitable[T], name: str | None) -> "asyncio.Task[T]":
        """Of the caller's context, without its deadline."""
        context = copy_context()
        context.run(self._accept)
        name = name or getattr(effect, "__name__", None)
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    async def _queued(self, effect: Awaitable[T]) -> T:
        assert self._limit is not None
        async with self._limit._slot_for(getattr(effect, "__name__", "effect")):
            return await effect

    def _start(self, effect: Awaitable[T], name: str | None) -> "asyncio.Task[T]":
        """Such a task without a handle: run's main, and what accepted work starts from a thread during the drain."""
        task = self._task(_children.awaited(effect), effect, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accept(self) -> None:
        scope_var.set(self)
        accepted_var.set(self)
        limit_var.set(None)

    # -- what is known ----------------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """A snapshot of the process; the names are those of the effects."""
        return snapshot()

    def stopping(self) -> bool:
        """Whether the shutdown has begun."""
        return self._stopping.is_set()

    async def wait_stopping(self) -> None:
        """Waits until the shutdown begins."""
        await self._stopping.wait()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _begin_close(self, *, drain: bool) -> "asyncio.Task[None]":
        if self._closing is None:
            self._clock = clock = Clock(self._settings, drain)
            self._closing = asyncio.get_running_loop().create_task(self._close(clock), name="mountain-runtime shutdown")
            self._stopping.set()
        return self._closing

    def _stop_draining(self) -> None:
        if self._clock is not None:
            self._clock.stop_draining()

    def _abort(self) -> None:
        if self._clock is not None:
            self._clock.abort()

    async def _close(self, clock: Clock) -> None:
        steps = Steps(clock)

        async def refuse() -> list[str]:
            await clock.sleep(lambda: clock.announced)
            self._phase = _scope.DRAINING
            return []

        async def drain() -> list[str]:
            return await self._ended(clock, lambda: clock.drained)

        async def cancel() -> list[str]:
            self._phase = _scope.CANCELLING
            self._refuse_queued()
            if (self._pool or _threads.default_pool()).refuse(self) or self._limit is not None:
                for _ in range(5):  # who waits for those hears of it before the cancel
                    await asyncio.sleep(0)
            for work in self._pending():
                work.cancel()
            return await self._ended(clock, lambda: clock.end)

        async def threads() -> list[str]:
            pool = self._pool or _threads.default_pool()
            while (names := pool.running(self)) and clock.left() > 0:  # noqa: ASYNC110 - threads know no loop
                await asyncio.sleep(min(0.01, clock.left()))
            if self._pool is not None:
                self._pool.close()
            return names

        async def native() -> list[str]:
            ended = self._close_native(min(max(clock.left(), 0.0), 1.0))
            self._phase = _scope.CLOSED
            self._leave()
            if self._loop is not None and _scope.by_loop.get(self._loop) is self:
                del _scope.by_loop[self._loop]
            return [] if ended else ["a native operation"]

        await steps.run("refuse", "timed_out", refuse)
        if clock.drains:
            await steps.run("drain", "timed_out", drain)
        await steps.run("cancel", "abandoned", cancel)
        await steps.run("threads", "abandoned", threads)
        await steps.run("native", "abandoned", native)
        self.report = steps.report()

    def _pending(self) -> list["asyncio.Future[Any]"]:
        """What it owns and has not ended."""
        handles: list[Any] = self._in_flight()
        return [work for work in (*self._tasks, *handles) if not work.done()]

    async def _ended(self, clock: Clock, until: Callable[[], float]) -> list[str]:
        """The names of what has not ended by then. Accepted work may start more meanwhile."""
        while pending := self._pending():
            if not await clock.wait(pending, until):
                return _names(self._pending())
        return []


def _names(work: list["asyncio.Future[Any]"]) -> list[str]:
    return [each.get_name() if isinstance(each, asyncio.Task) else repr(each) for each in work]


def _hand_over(result: "concurrent.futures.Future[T]", done: "asyncio.Future[T]") -> None:
    if not result.set_running_or_notify_cancel():
        return
    if done.cancelled():
        result.set_exception(concurrent.futures.CancelledError())
    elif (error := done.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(done.result())
