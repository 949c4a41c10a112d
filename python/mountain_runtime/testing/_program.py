"""A program that a test plays: the coroutine of its function, with pipes or a terminal in place of the system's.

 1. The function is called. If it raises then, or before its first wait, the program has not started.
 2. It runs in a task of its own. Its end, or a signal that no handler of its takes, ends the program.
 3. The block around it, or the signal SIGKILL, kills it: it is cancelled in each turn of the loop until it has ended.

Race: a program that ends while a signal is on its way has ended by itself.
"""

import asyncio
import errno
import inspect
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from .._native import Completed, Screen, deadline_var
from .._tasks.outlast import outlast
from ..policy._given import shown
from ._keys import Keys
from ._pipe import KEPT, PIPE, Pipe

__all__ = ["Program", "result"]

#: Numbers that no process has: Linux gives none beyond.
_NUMBERS = itertools.count(1 << 22)
#: Signals that end no program by themselves. None of a test's is stopped.
_HARMLESS = {
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
}
#: Turns of the loop in which one that is killed must have ended.
_TURNS = 1000


async def result(said: object) -> Completed:
    """The outcome of a function of testing.process(); a SystemExit is the program's exit code."""
    try:
        done = await said if inspect.isawaitable(said) else said
    except SystemExit as error:
        return Completed(error.code if isinstance(error.code, int) else int(error.code is not None))
    if not isinstance(done, Completed):
        raise TypeError(f"the function of testing.process() gives a process.Completed, not {shown(done)}")
    return done


class Program:
    """A program from its start to its end. Without `talks` it is run: its input is given, and its output collected."""

    def __init__(self, data: bytes, terminal: tuple[int, int] | None, *, talks: bool, stderr: bool) -> None:
        self.pid = next(_NUMBERS)
        self.returncode: int | None = None
        self.size = terminal
        self.handlers: dict[int, Callable[[], object]] = {}
        self._stdin = Pipe(PIPE if talks else None)
        self._out = Pipe(KEPT if talks else None, self._flows)
        self._err = Pipe(KEPT if talks else None) if stderr else None
        self._keys = self._screen = None
        if terminal is not None:
            self._keys, self._screen = Keys(self._draw, self._get), Screen(*terminal)
        if not talks:
            self._stdin.push(data)
            self._stdin.end()
        self._task: asyncio.Task[None] | None = None
        #: Resolved when it has ended.
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._signal: int | None = None
        self._started = self._killed = self._looked = self._failed = False
        self._waiting = 0
        self._error: BaseException | None = None

    # -- for the test -------------------------------------------------------------------------------------------------

    async def read(self, part: str) -> Any:
        """The next of what was sent, or typed; None at the end."""
        return await self._stdin.take(part)

    async def write(self, data: bytes, *, stderr: bool) -> None:
        if self._screen is not None:
            data = data if self.is_raw() else data.replace(b"\n", b"\r\n")
            answers = self._screen.draw(data)
            await self._out.put(data)
            if answers:
                self._stdin.push(self._typed(answers))
        elif not stderr:
            await self._out.put(data)
        elif self._err is not None:
            await self._err.put(data)
        else:
            os.write(2, data)
        await asyncio.sleep(0)  # one that writes without end lets others run

    def is_raw(self) -> bool:
        return self._keys is not None and self._keys.raw

    def set_raw(self) -> None:
        if self._keys is None:
            raise RuntimeError("raw(): this program has no terminal; process.terminal gives it one")
        self._keys.raw = True

    def collected(self) -> tuple[bytes, bytes]:
        """The output of a program that is run."""
        return self._out.all(), b"" if self._err is None else self._err.all()

    # -- steps 1 and 2 ------------------------------------------------------------------------------------------------

    async def start(self, said: object, name: str) -> None:
        context = copy_context()
        context.run(deadline_var.set, None)  # the limit of its caller is none of the program's
        self._task = asyncio.get_running_loop().create_task(self._play(said), name=f"program {name}", context=context)
        try:
            await asyncio.sleep(0)
        except BaseException:
            await self.end(0)
            raise
        self._started = True
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _play(self, said: object) -> None:
        code = 1
        try:
            done = await result(said)
            await self.write(done.stdout, stderr=False)
            if done.stderr:
                await self.write(done.stderr, stderr=True)
            code = done.returncode
        except asyncio.CancelledError:
            code = 1 if self._failed else -(self._signal or signal.SIGKILL)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            self._end(code)

    def _end(self, code: int) -> None:
        if self.returncode is not None:
            return
        self.returncode = -signal.SIGKILL if self._killed else code
        self._stdin.break_()
        for pipe in (self._out, self._err):
            if pipe is not None:
                pipe.cut()
        if not self._over.get_loop().is_closed():
            self._over.set_result(None)

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        if self._err is None or not self._started:
            self._error = error
        else:  # a sidecar's is logged, as that of a program in Python
            self._err.push("".join(traceback.format_exception(error)).encode())

    def _get(self, number: int) -> None:
        """A signal comes."""
        assert self._task is not None
        handler = self.handlers.get(number)
        if number == signal.SIGKILL:
            self.kill()
        elif handler is not None:
            self._task.get_loop().call_soon(self._handle, handler)
        elif number and number not in _HARMLESS:
            self._signal = self._signal or number
            self._task.cancel()

    def _handle(self, handler: Callable[[], object]) -> None:
        assert self._task is not None
        try:
            handler()
        except Exception as error:
            self._fail(error)
            self._task.cancel()

    # -- as a Child ---------------------------------------------------------------------------------------------------

    def signal(self, number: int, /) -> None:
        if self.returncode is not None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if number and number not in signal.valid_signals():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._get(number)

    def resize(self, columns: int, rows: int, /) -> None:
        if self.returncode is not None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if self._screen is not None and (columns, rows) != self.size:
            self.size = columns, rows
            self._screen.resize(columns, rows)
            self._get(signal.SIGWINCH)

    def screen(self) -> str:
        self._looked = True
        self._out.move()
        return "" if self._screen is None else self._screen.text()

    async def next(self, part: str, /) -> Any:
        return await self._out.take(part)

    async def watch_output(self, part: str, stderr: bool, /) -> Any:
        return await (self._err if stderr and self._err is not None else self._out).take(part)

    async def watch_end(self, waits: bool = False, /) -> int:
        return await self.wait()

    async def send(self, data: bytes, /) -> None:
        if self._keys is None:
            await self._stdin.put(bytes(data))
            return
        if self.returncode is not None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        read, ends = self._keys.typed(bytes(data))
        if read:
            await self._stdin.put(read)
        if ends:
            self._stdin.end()

    async def close_stdin(self) -> None:
        await self._stdin.close()

    async def wait(self) -> int:
        self._waiting += 1
        self._out.move()
        try:
            await asyncio.wait([self._over])
        finally:
            self._waiting -= 1
        assert self.returncode is not None
        return self.returncode

    async def end(self, grace: float, /) -> None:
        """Step 3. An error of the program is raised once, unless this is for a cancel."""
        self._out.drop()
        try:
            if grace and self.returncode is None:
                if self._keys is None:
                    self._stdin.end()
                self._get(signal.SIGTERM)
                if self._keys is not None:
                    self._get(signal.SIGHUP)
                await asyncio.wait([self._over], timeout=grace)
        finally:
            asked = isinstance(sys.exception(), asyncio.CancelledError)
            self.kill()
            cancelled = await outlast([self._over], asked=asked)
        if cancelled is not None:
            raise cancelled
        if self._error is not None and not asked:
            error, self._error = self._error, None
            raise error

    def kill(self) -> None:
        if self._task is not None and not self._task.done() and not self._killed:
            self._killed = True
            self._cancel(_TURNS)

    def _cancel(self, turns: int) -> None:
        assert self._task is not None
        loop = self._task.get_loop()
        if self._task.done() or loop.is_closed():
            return
        if turns:
            self._task.cancel()
            loop.call_soon(self._cancel, turns - 1)
        else:
            self._fail(RuntimeError(f"the {self._task.get_name()} of testing.process() swallows each CancelledError"))
            self._end(1)

    # -- its terminal -------------------------------------------------------------------------------------------------

    def _draw(self, data: bytes) -> None:
        """Shows what comes from the terminal itself."""
        assert self._screen is not None
        self._screen.draw(data)
        self._out.push(data)

    def _typed(self, data: bytes) -> bytes:
        assert self._keys is not None
        return self._keys.typed(data)[0]

    def _flows(self) -> bool:
        return self._screen is not None and (self._looked or self._waiting > 0)
