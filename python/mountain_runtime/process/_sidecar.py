"""Sidecars: a program that runs beside the application, as a service: started until it is ready, restarted, stopped.

 1. It is started and watched: its stderr goes to the log, its last lines are remembered, its end is waited for.
 2. It is ready when a line says so, or a port answers. One that ends before that has failed.
 3. When it ends unasked, it is started again after a wait, if it may. A caller that was talking to it gets a
    BrokenPipeError; one that comes then waits for the next one.
 4. Too many restarts in a minute, and the runtime around it stops.
 5. It is stopped politely by its own function, then by SIGTERM, then by SIGKILL, each with its time.

Races: 3 with 5. Stopping cancels the watch first, so that nothing is started after it.
"""

import asyncio
import inspect
import random
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Never, cast

from .._native import deadline_var
from .._tasks.outlast import shielded
from .._tasks.scope import current
from .._tasks.users_errors import note, said
from ..errors import ConfigError, Rejected
from ..policy import Backoff
from ..policy._backoff import wrong_backoff
from ..policy._functions import takes_one
from ..policy._given import shown
from ..policy._numbers import Seconds, count, seconds
from ._misused import foreign
from ._process import Process, checked
from ._sidecar_run import Ready, Run, Settings, Stop, StrPath, log

if TYPE_CHECKING:
    from .._runtime.runtime import Runtime

__all__ = ["sidecar"]

#: So many restarts in so many seconds are one too many.
_MOST, _WITHIN = 5, 60.0
#: Seconds in which one that was started again must be ready. The first start has its service's `start_timeout`.
_READY = 30.0


def sidecar(
    *argv: StrPath,
    ready: Ready = None,
    stop: Stop | None = None,
    stop_tries: int = 3,
    grace: Seconds = 0.5,
    restart: Backoff | None = None,
    **other: Never,
) -> Callable[[], AbstractAsyncContextManager[Process]]:
    """A program that runs beside the application, for `Runtime.provide` or `async with sidecar(...)() as p:`.

    It is `ready` when that function says so of a line that it writes, or when something listens on that local port;
    otherwise as soon as it runs. Its stderr goes to the logger "mountain_runtime.sidecar"; its stdout too, if it is
    ready by a port, and else to `receive`, which must be called if it writes much.

    To stop it, `stop` is tried at most `stop_tries` times until it raises nothing; then come SIGTERM and SIGKILL, to
    the whole group. Each try, the end after it, and the end after SIGTERM may take `grace` seconds.

    With `restart`, one that ends by itself is started again, after those waits; the Process stays the same object. Who
    was talking to it gets BrokenPipeError; who talks to it meanwhile waits for the next one. More than 5 restarts
    within a minute stop the runtime that the sidecar belongs to.

    Raises ChildProcessError, with its exit code and last lines, from the start when it ends before it is ready, and
    from the end of the block when it had ended by itself. OSError (EADDRINUSE) if its port is taken before it starts.
    """
    if other:
        raise foreign("sidecar", other)
    checked("sidecar", argv)
    is_port = isinstance(ready, int) and not isinstance(ready, bool) and 0 < ready < 65536
    if ready is not None and not callable(ready) and not is_port:
        raise ConfigError(f"sidecar(ready={ready!r}): must be a function of a line, or a port from 1 to 65535")
    if callable(ready) and (inspect.iscoroutinefunction(ready) or not takes_one(ready)):
        raise ConfigError(
            f"sidecar(ready={shown(ready)}): must be a plain function of a line, such as lambda line: ..."
        )
    if restart is not None and not isinstance(restart, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise wrong_backoff(restart, "sidecar", "restart")
    settings = Settings(
        argv, ready, stop, count(stop_tries, "sidecar", "stop_tries"), seconds(grace, "sidecar", "grace"), restart
    )

    def make() -> AbstractAsyncContextManager[Process]:
        return _Block(settings)

    make.__qualname__ = make.__name__ = f"sidecar({settings.name!r})"
    return make


class _Block(AbstractAsyncContextManager[Process]):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entered = False
        self._life: tuple[_Life, asyncio.Task[None]] | None = None

    async def __aenter__(self) -> Process:
        if self._entered:
            raise RuntimeError("a sidecar's block is entered once: make another")
        self._entered = True
        settings = self._settings
        life = _Life(settings, await Run.begin(settings))
        context = copy_context()
        context.run(deadline_var.set, None)  # the limit on its start is none on its life
        watch = asyncio.create_task(life.watch(), name=f"sidecar {settings.name}", context=context)
        self._life = life, watch
        return _Sidecar(life)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._life is not None
        life, watch = self._life
        with shielded(error):
            failure = await life.stop(watch)
        if failure is None:
            return
        if error is None:
            raise failure
        note(error, said(failure))


class _Life:
    """All runs of one sidecar, one after another."""

    def __init__(self, settings: Settings, first: Run) -> None:
        self.settings = settings
        self.now = first
        self._restarts: deque[float] = deque()
        #: Why it does not run.
        self._failure: Exception | None = None

    async def watch(self) -> None:
        """Steps 3 and 4: until there is nothing to restart any more."""
        while True:
            run = self.now
            await run.child.watch_end()
            self._failure = await run.failure("by itself")
            log.warning("%s", self._failure)
            await run.kill()
            fresh = None if self.settings.restart is None else await self._another(self.settings.restart)
            if fresh is not None:
                self.now, self._failure = fresh, None
            run.replaced.set()
            if fresh is None:
                return

    async def _another(self, backoff: Backoff) -> Run | None:
        """The next run, however often it has to be tried; None when that is too often."""
        clock, restarts = asyncio.get_running_loop().time, self._restarts
        while True:
            while restarts and restarts[0] < clock() - _WITHIN:
                restarts.popleft()
            if len(restarts) >= _MOST:
                self._failure = ChildProcessError(
                    f"{said(self._failure)}\nIt was started {_MOST} times again in {_WITHIN:g} s: enough"
                )
                _give_up(self._failure)
                return None
            await asyncio.sleep(backoff.wait(len(restarts), random.random()))
            restarts.append(clock())
            try:
                async with asyncio.timeout(_READY):
                    fresh = await Run.begin(self.settings)
            except Rejected:  # the runtime stops
                return None
            except TimeoutError:
                self._failure = ChildProcessError(f"sidecar {self.settings.name!r} was not ready in {_READY:g} s")
            except Exception as error:
                self._failure = error
            else:
                log.warning("sidecar %r runs again, as process %d", self.settings.name, fresh.child.pid)
                return fresh
            log.warning("%s", said(self._failure))

    async def stop(self, watch: "asyncio.Task[None]") -> Exception | None:
        """Step 5: nothing is started any more, and what runs is stopped. Gives why it had ended before, if it had."""
        watch.cancel()
        run = self.now
        try:
            await asyncio.wait([watch])
            run = self.now
            if self._failure is None and await run.has_ended():
                self._failure = await run.failure("by itself")
            await run.end()
        finally:
            # A cancel cut the waiting short: not even now is anything left.
            with shielded(sys.exception()):
                await run.kill()
            run.replaced.set()
        if not watch.cancelled() and (error := watch.exception()) is not None:
            return error if isinstance(error, Exception) else None
        return self._failure


class _Sidecar(Process):
    """The same object for its users, whichever run it is."""

    def __init__(self, life: _Life) -> None:
        super().__init__(life.now.child)
        self._life = life
        #: The run that was sent to last, from which an answer comes; None before the first send.
        self._last = life.now

    @property
    def pid(self) -> int:
        return self._life.now.process.pid

    def __repr__(self) -> str:
        return repr(self._life.now.process)

    async def send(self, line: bytes) -> None:
        run = await self._run()
        with _Noticing(run):
            await run.process.send(line)

    async def receive(self) -> bytes:
        run = await self._answering()
        with _Noticing(run):
            return await run.process.receive()

    async def exchange(self, line: bytes) -> bytes:
        run = await self._run()
        with _Noticing(run):
            return await run.process.exchange(line)

    async def lines(self) -> AsyncIterator[bytes]:
        run = await self._answering()
        async for line in run.process.lines():
            yield line
        run.broken = True

    async def chunks(self) -> AsyncIterator[bytes]:
        run = await self._answering()
        async for chunk in run.process.chunks():
            yield chunk
        run.broken = True

    async def close_stdin(self) -> None:
        await (await self._run()).process.close_stdin()

    def signal(self, number: int, /) -> None:
        self._life.now.process.signal(number)

    async def wait(self) -> int:
        return await self._life.now.process.wait()

    @property
    def _restarts(self) -> bool:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        return self._life.settings.restart is not None

    async def _connected(self) -> tuple[Process, Callable[[], None]]:
        run = await self._run()
        return run.process, run.breaks

    async def _answering(self) -> Run:
        return await self._run() if self._last.broken else self._last

    async def _run(self) -> Run:
        """The run to talk to: while the next one starts, that."""
        run = self._life.now
        if self._life.settings.restart is None:
            return run
        if await run.has_ended():
            await run.replaced.wait()
        run.broken = False  # it lives on without that pipe
        self._last = self._life.now
        return self._last


class _Noticing(AbstractContextManager[None]):
    def __init__(self, run: Run) -> None:
        self._run = run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if isinstance(error, BrokenPipeError):
            self._run.broken = True


def _give_up(why: Exception) -> None:
    log.error("%s; its runtime stops", why)
    runtime = current()
    loop = None if runtime is None else cast("Runtime", runtime)._loop
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(_close, cast("Runtime", runtime))


def _close(runtime: "Runtime") -> None:
    """On the runtime's loop, which need not be the sidecar's."""
    runtime._begin_close(drain=True)  # type: ignore[unused-awaitable] # its block awaits it
