"""One run of a sidecar's program: started, ready, listened to, ended."""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._tasks.exits import EXITS, Exit, result_of, task_of
from .._tasks.flag import Flag
from .._tasks.outlast import shielded
from .._tasks.users_errors import written
from ..policy import Backoff
from ..telemetry import _logs
from . import Process, start
from ._live import Live

__all__ = ["Ready", "Run", "Settings", "Stop", "StrPath", "log"]

StrPath = str | os.PathLike[str]
Ready = Callable[[str], bool] | int | None
Stop = Callable[[Process], Awaitable[None]]

log = _logs.logger("sidecar")

#: Lines that a failure tells, and bytes of a line that are remembered or logged.
_LINES, _LONGEST = 20, 8192
#: Seconds between two looks whether a port answers.
_LOOK = 0.02
#: Seconds in which one that has closed a pipe is taken to be about to end.
_ENDING = 1.0
#: Seconds in which what it wrote last must have come.
_LATEST = 0.2


@dataclass(frozen=True, slots=True)
class Settings:
    argv: tuple[StrPath, ...]
    ready: Ready
    stop: Stop | None
    stop_tries: int
    grace: float
    restart: Backoff | None

    @property
    def name(self) -> str:
        return Path(self.argv[0]).name


class Run:
    """One run of the program, from its start to its end."""

    def __init__(self, settings: Settings, child: Live) -> None:
        self._settings = settings
        self.child = child
        self.process = Process(child)
        #: A caller found a pipe of it closed.
        self.broken = False
        #: There is another run after this one, or there will be none.
        self.replaced = Flag()
        self._last: deque[str] = deque(maxlen=_LINES)
        self._tasks: list[asyncio.Task[None]] = []
        #: A line of its stderr says that it is ready, or could not be asked.
        self._said: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        logs_stdout = isinstance(settings.ready, int)
        self._tasks.append(asyncio.create_task(self._read(stderr=True)))
        if logs_stdout:
            self._tasks.append(asyncio.create_task(self._read(stderr=False)))

    @classmethod
    async def begin(cls, settings: Settings) -> "Run":
        """Starts it, and waits until it is ready."""
        port = settings.ready if isinstance(settings.ready, int) else None
        if port is not None and await _answers(port):
            message = f"sidecar {settings.name!r} was not started: something listens on its port {port} already"
            raise OSError(errno.EADDRINUSE, message)
        run = cls(settings, await start(settings.argv, None, None, stderr=True))
        try:
            await run._until_ready()
        except BaseException as error:
            with shielded(error):
                await run.kill()
            raise
        return run

    async def _until_ready(self) -> None:
        ready = self._settings.ready
        if ready is None:
            return
        # Virtual time stands still while a program starts; not while a port is looked at again and again.
        ended = asyncio.ensure_future(self.child.watch_end(callable(ready)))
        waiting = task_of(self._port(ready) if isinstance(ready, int) else self._line(ready))
        try:
            await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                result_of(waiting)
            else:
                raise await self.failure("before it was ready")
        finally:
            for each in (ended, waiting):
                each.cancel()
            await asyncio.gather(ended, waiting, return_exceptions=True)

    async def _port(self, port: int) -> None:
        while not await _answers(port):  # noqa: ASYNC110 - no event says when a port answers
            await asyncio.sleep(_LOOK)

    async def _line(self, says: Callable[[str], bool]) -> None:
        """Until a line on either of its outputs says so; lines of stdout before it are logged."""
        said = self._said
        while not said.done():
            line = asyncio.ensure_future(self.child.watch_output("line", False))
            either: list[asyncio.Future[Any]] = [line, said]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not line.done():
                    break  # stdout is its user's from now on
                found = line.result()
            finally:
                line.cancel()
            if found is None:
                break
            text = _text(found)
            self._note(text)
            if says(text):
                return
        await said

    async def _read(self, *, stderr: bool) -> None:
        """Everything it writes there, to the log."""
        ready = self._settings.ready
        says = ready if callable(ready) else None
        rest = b""
        while (chunk := await self.child.watch_output("chunk", stderr)) is not None:
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._note(_text(line))
                if says is not None and not self._said.done():
                    self._ask(says, _text(line))
        if rest:
            self._note(_text(rest))

    def _ask(self, says: Callable[[str], bool], line: str) -> None:
        try:
            if says(line):
                self._said.set_result(None)
        except Exception as error:
            self._said.set_exception(error)
        except EXITS as error:
            self._said.set_exception(Exit(error))

    def _note(self, line: str) -> None:
        self._last.append(line)
        log.info("%s[%d]: %s", self._settings.name, self.child.pid, line)

    async def failure(self, when: str) -> ChildProcessError:
        """The error that says how it ended."""
        # The last of its output may still be on its way.
        await asyncio.wait(self._tasks, timeout=_LATEST)
        code = self.child.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        lines = "\n".join(f"    {line}" for line in self._last)
        last = f"; its last lines:\n{lines}" if lines else ", without a word on its stderr"
        return ChildProcessError(f"sidecar {self._settings.name!r} {how} {when}{last}")

    def breaks(self) -> None:
        """A caller found a pipe of it closed."""
        self.broken = True

    async def has_ended(self) -> bool:
        """Whether it has ended by itself, or is about to: a caller found a pipe of it closed."""
        if self.broken and self.child.returncode is None:
            await self._wait(_ENDING)
        return self.child.returncode is not None

    async def _wait(self, seconds: float) -> None:
        ended = asyncio.ensure_future(self.child.watch_end())
        await asyncio.wait([ended], timeout=seconds)
        ended.cancel()

    async def end(self) -> None:
        """Step 5."""
        grace, stop = self._settings.grace, self._settings.stop
        for _ in range(self._settings.stop_tries if stop is not None else 0):
            if self.child.returncode is not None:
                break
            assert stop is not None
            if await _tried(stop(self.process), grace, self._settings.name):
                await self._wait(grace)
                break
        await self.child.end(grace)

    async def kill(self) -> None:
        """Ends what is left of it, and all that watches it."""
        try:
            await self.child.end(0)
            # The last of what it wrote is there now.
            await asyncio.wait(self._tasks, timeout=_LATEST)
        finally:
            for each in (*self._tasks, self._said):
                each.cancel()
            if self._said.done() and not self._said.cancelled():
                self._said.exception()  # it has been told, or matters no more


async def _tried(stopping: Awaitable[None], grace: float, name: str) -> bool:
    try:
        async with asyncio.timeout(grace):
            await stopping
    except Exception as error:
        log.warning("sidecar %r was asked to stop: %s", name, written(error))
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


def _text(line: bytes) -> str:
    return line[:_LONGEST].decode(errors="replace").rstrip("\r\n")
