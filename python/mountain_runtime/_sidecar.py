"""Sidecars: a program that runs beside the application, as a service: started until it is ready, restarted, stopped.

 1. It is started and watched: its stderr goes to the log, its last lines are remembered, its end is waited for.
 2. It is ready when a line says so, or a port answers. One that ends before that has failed.
 3. When it ends although nobody stopped it, it is started again after a wait, if it may. Who talked to it gets a
    BrokenPipeError; who comes then waits for the next one.
 4. Too many restarts in a minute, and the runtime around it stops.
 5. It is stopped politely by its own function, then by SIGTERM, then by SIGKILL, each with its time.

What races: 3 with 5. Stopping cancels the watch first, so that nothing is started after it.
"""

import asyncio
import errno
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from . import _native
from ._native import Child, limit_var
from ._scope import current
from ._stopping import Stopping
from .errors import ConfigError, Rejected
from .policy import Backoff
from .policy._numbers import Seconds, count, seconds
from .process import Process, start

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["sidecar"]

StrPath = str | os.PathLike[str]
Ready = Callable[[str], bool] | int | None
Stop = Callable[[Process], Awaitable[None]]

_log = logging.getLogger("mountain_runtime.sidecar")

#: So many restarts in so many seconds are one too many.
_MOST, _WITHIN = 5, 60.0
#: Seconds in which one that was started again must be ready. The first start has its service's `start_timeout`.
_READY = 30.0
#: Lines that a failure tells, and bytes of a line that are remembered or logged.
_LINES, _LONGEST = 20, 8192
#: Seconds between two looks whether a port answers.
_LOOK = 0.02
#: Seconds in which one that has closed a pipe is taken to be about to end.
_ENDING = 1.0


@dataclass(frozen=True, slots=True)
class _Settings:
    argv: tuple[StrPath, ...]
    ready: Ready
    stop: Stop | None
    stop_tries: int
    grace: float
    restart: Backoff | None

    @property
    def name(self) -> str:
        return os.path.basename(self.argv[0])


def sidecar(
    *argv: StrPath,
    ready: Ready = None,
    stop: Stop | None = None,
    stop_tries: int = 3,
    grace: Seconds = 0.5,
    restart: Backoff | None = None,
) -> Callable[[], AbstractAsyncContextManager[Process]]:
    """A program that runs beside the application, for `Runtime.provide` or `async with sidecar(...)() as p:`.

    It is `ready` when that function says so of a line that it writes, or when something listens on that local port;
    otherwise as soon as it runs. Its stderr goes to the logger "mountain_runtime.sidecar"; its stdout too, if it is
    ready by a port, and else to `receive`, which somebody must call if it writes much.

    To stop it, `stop` is tried at most `stop_tries` times until it raises nothing; then come SIGTERM and SIGKILL, to
    the whole group. Each try, the end after it, and the end after SIGTERM may take `grace` seconds.

    With `restart`, one that ends by itself is started again, after those waits; the Process stays the same object. Who
    was talking to it gets BrokenPipeError; who talks to it meanwhile waits for the next one. More than 5 restarts
    within a minute stop the runtime that the sidecar belongs to.

    Raises ChildProcessError, with its exit code and last lines, from the start when it ends before it is ready, and
    from the end of the block when it had ended by itself. OSError (EADDRINUSE) if its port is taken before it starts.
    """
    if not argv:
        raise ConfigError("sidecar(): needs a program to run")
    if isinstance(ready, bool) or not (ready is None or callable(ready) or 0 < cast("object", ready) < 65536):  # type: ignore[operator]
        raise ConfigError(f"sidecar(ready={ready!r}): must be a function of a line, or a port from 1 to 65535")
    if restart is not None and not isinstance(restart, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"sidecar(restart={restart!r}): must be made by constant() or exponential()")
    settings = _Settings(
        argv, ready, stop, count(stop_tries, "sidecar", "stop_tries"), seconds(grace, "sidecar", "grace"), restart
    )

    def make() -> AbstractAsyncContextManager[Process]:
        return _block(settings)

    make.__qualname__ = make.__name__ = f"sidecar({settings.name!r})"
    return make


@asynccontextmanager
async def _block(settings: _Settings) -> AsyncIterator[Process]:
    life = _Life(settings, await _Run.begin(settings))
    context = copy_context()
    context.run(limit_var.set, None)  # the limit on its start is none on its life
    loop = asyncio.get_running_loop()
    watch = loop.create_task(life.watch(), name=f"sidecar {settings.name}", context=context)
    try:
        yield _Sidecar(life)
    except BaseException as error:
        if failure := await life.stop(watch):
            error.add_note(str(failure))
        raise
    if failure := await life.stop(watch):
        raise failure


class _Run:
    """One run of the program, from its start to its end."""

    def __init__(self, settings: _Settings, child: Child) -> None:
        self._settings = settings
        self.child = child
        #: Somebody found a pipe of it closed.
        self.broken = False
        #: There is another run after this one, or there will be none.
        self.replaced = Stopping()
        self._last: deque[str] = deque(maxlen=_LINES)
        self._tasks: list[asyncio.Task[None]] = []
        self._said_ready = asyncio.Event()
        self._ahead: asyncio.Future[bytes | None] | None = None
        logs_stdout = isinstance(settings.ready, int)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._read(stderr=True)))
        if logs_stdout:
            self._tasks.append(loop.create_task(self._read(stderr=False)))

    @classmethod
    async def begin(cls, settings: _Settings) -> "_Run":
        """Starts it, and waits until it is ready."""
        port = settings.ready if isinstance(settings.ready, int) else None
        if port is not None and await _answers(port):
            message = f"sidecar {settings.name!r} was not started: something listens on its port {port} already"
            raise OSError(errno.EADDRINUSE, message)
        run = cls(settings, await start(settings.argv, None, None, stderr=True))
        try:
            await run._until_ready()
        except BaseException:
            await run.kill()
            raise
        return run

    async def _until_ready(self) -> None:
        ready = self._settings.ready
        if ready is None:
            return
        ended = asyncio.ensure_future(_native.process_watch_end(self.child))
        waiting = asyncio.ensure_future(self._port(ready) if isinstance(ready, int) else self._line(ready))
        try:
            await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
            else:
                raise await self.failure("before it was ready")
        finally:
            for each in (ended, waiting):
                each.cancel()
            await asyncio.gather(ended, waiting, return_exceptions=True)

    async def _port(self, port: int) -> None:
        while not await _answers(port):
            await asyncio.sleep(_LOOK)

    async def _line(self, says: Callable[[str], bool]) -> None:
        """Until a line on either of its outputs says so; lines of stdout before it are nobody's, and are logged."""
        heard = asyncio.ensure_future(self._said_ready.wait())
        try:
            while True:
                line = asyncio.ensure_future(_native.process_watch_output(self.child, "line", False))
                await asyncio.wait([line, heard], return_when=asyncio.FIRST_COMPLETED)
                if not line.done():
                    self._ahead = line
                    return
                found = line.result()
                if found is None:
                    await heard
                    return
                text = _text(found)
                self._note(text)
                if says(text):
                    return
        finally:
            heard.cancel()

    async def early(self) -> bytes | None:
        """What was asked for before it was ready, and is its user's now."""
        if self._ahead is None:
            return None
        line = await asyncio.shield(self._ahead)
        self._ahead = None
        return line

    async def _read(self, *, stderr: bool) -> None:
        """Everything it writes there, to the log."""
        ready = self._settings.ready
        says = ready if callable(ready) else None
        rest = b""
        while (chunk := await _native.process_watch_output(self.child, "chunk", stderr)) is not None:
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._note(_text(line))
                if says is not None and not self._said_ready.is_set() and says(_text(line)):
                    self._said_ready.set()
        if rest:
            self._note(_text(rest))

    def _note(self, line: str) -> None:
        self._last.append(line)
        _log.info("%s[%d]: %s", self._settings.name, self.child.pid, line)

    async def failure(self, when: str) -> ChildProcessError:
        """What to say of its end."""
        # What it wrote last may still be on its way.
        await asyncio.wait(self._tasks, timeout=0.2)
        code = self.child.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        lines = "\n".join(f"    {line}" for line in self._last)
        last = f"; its last lines:\n{lines}" if lines else ", without a word on its stderr"
        return ChildProcessError(f"sidecar {self._settings.name!r} {how} {when}{last}")

    async def has_ended(self) -> bool:
        """Whether it has ended by itself, or is about to: somebody has found a pipe of it closed."""
        if self.broken and self.child.returncode is None:
            await self._wait(_ENDING)
        return self.child.returncode is not None

    async def _wait(self, seconds: float) -> None:
        ended = asyncio.ensure_future(_native.process_watch_end(self.child))
        await asyncio.wait([ended], timeout=seconds)
        ended.cancel()

    async def end(self) -> None:
        """Step 5."""
        grace, stop = self._settings.grace, self._settings.stop
        for _ in range(self._settings.stop_tries if stop is not None else 0):
            if self.child.returncode is not None:
                break
            assert stop is not None
            if await _tried(stop(Process(self.child)), grace, self._settings.name):
                await self._wait(grace)
                break
        await _native.process_end(self.child, grace)

    async def kill(self) -> None:
        """Ends what is left of it, and all that watches it."""
        try:
            await _native.process_end(self.child, 0)
            # The last of what it wrote is there now.
            await asyncio.wait(self._tasks, timeout=0.2)
        finally:
            for task in self._tasks:
                task.cancel()


class _Life:
    """All runs of one sidecar, one after another."""

    def __init__(self, settings: _Settings, first: _Run) -> None:
        self.settings = settings
        self.now = first
        self._restarts: deque[float] = deque()
        #: Why it does not run.
        self._failure: Exception | None = None

    async def watch(self) -> None:
        """Steps 3 and 4: until there is nothing to restart any more."""
        while True:
            run = self.now
            await _native.process_watch_end(run.child)
            self._failure = await run.failure("by itself")
            _log.warning("%s", self._failure)
            await run.kill()
            fresh = None if self.settings.restart is None else await self._another(self.settings.restart)
            if fresh is not None:
                self.now, self._failure = fresh, None
            run.replaced.set()
            if fresh is None:
                return

    async def _another(self, backoff: Backoff) -> _Run | None:
        """The next run, however often it has to be tried; None when that is too often."""
        clock, restarts = asyncio.get_running_loop().time, self._restarts
        while True:
            while restarts and restarts[0] < clock() - _WITHIN:
                restarts.popleft()
            if len(restarts) >= _MOST:
                self._failure = ChildProcessError(f"{self._failure}\nIt was started {_MOST} times again in {_WITHIN:g} s: enough")
                _give_up(self._failure)
                return None
            await asyncio.sleep(_wait(backoff, len(restarts)))
            restarts.append(clock())
            try:
                async with asyncio.timeout(_READY):
                    fresh = await _Run.begin(self.settings)
            except Rejected:  # the runtime stops
                return None
            except TimeoutError:
                self._failure = ChildProcessError(f"sidecar {self.settings.name!r} was not ready in {_READY:g} s")
            except Exception as error:
                self._failure = error
            else:
                _log.warning("sidecar %r runs again, as process %d", self.settings.name, fresh.child.pid)
                return fresh
            _log.warning("%s", self._failure)

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

    def _now(self) -> Child:
        return self._life.now.child

    async def send(self, line: bytes) -> None:
        run = await self._run()
        with _noticing(run):
            await self._send(run.child, line)

    async def receive(self) -> bytes:
        run = await self._run()
        with _noticing(run):
            early = await run.early()
            return await self._receive(run.child) if early is None else early.removesuffix(b"\n")

    async def lines(self) -> AsyncIterator[bytes]:
        run = await self._run()
        if (early := await run.early()) is not None:
            yield early.removesuffix(b"\n")
        async for line in Process(run.child).lines():
            yield line

    async def chunks(self) -> AsyncIterator[bytes]:
        run = await self._run()
        if (early := await run.early()) is not None:
            yield early
        async for chunk in Process(run.child).chunks():
            yield chunk

    async def _run(self) -> _Run:
        """The run to talk to: while the next one starts, that."""
        run = self._life.now
        if self._life.settings.restart is None:
            return run
        if await run.has_ended():
            await run.replaced.wait()
        run.broken = False  # it lives on without that pipe
        return self._life.now


@contextmanager
def _noticing(run: _Run) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        run.broken = True
        raise


def _give_up(why: Exception) -> None:
    _log.error("%s; its runtime stops", why)
    runtime = current()
    if runtime is not None:
        cast("Runtime", runtime)._begin_close(drain=True)


async def _tried(stopping: Awaitable[None], grace: float, name: str) -> bool:
    try:
        async with asyncio.timeout(grace):
            await stopping
    except Exception as error:
        _log.warning("sidecar %r was asked to stop: %r", name, error)
        return False
    return True


async def _answers(port: int) -> bool:
    """Whether something listens there."""
    for host in ("127.0.0.1", "::1"):
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            continue
        writer.close()
        return True
    return False


def _wait(backoff: Backoff, restarts: int) -> float:
    most: float = min(backoff._initial * backoff._factor**restarts, backoff._max)
    kept = {"full": 0.0, "equal": 0.5, "none": 1.0}[backoff._jitter]
    return most * (kept + (1 - kept) * random.random())


def _text(line: bytes) -> str:
    return line[:_LONGEST].decode(errors="replace").rstrip("\r\n")
