"""Processes: a program run to its end, or one to talk to while it lives.

Each child leads a process group of its own, and the whole group goes when its time is up: on a timeout, a cancel, an
error, at the end of the block. It is reaped before the await ends. Its stdin is closed to it unless one writes there
(`run` gives it `input`, or nothing; never the terminal). On Linux the child is killed when this process dies, however
that happens, and a small guard process ends what the child has started.

Failures raise what `subprocess` raises: FileNotFoundError and its kin with errno and filename for programs that do not
start, CalledProcessError, and TimeoutExpired as the cause of a TimedOut. No shell is involved.
"""

import errno
import os
import reprlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import cast

from .. import _native
from .._effect.misused import AsyncBlockOnly
from .._native import Child, Completed, Effect
from .._tasks import scope as _scope
from .._tasks.outlast import shielded
from ..errors import ConfigError
from ..policy._numbers import count

__all__ = ["Completed", "Process", "open", "run"]

StrPath = str | os.PathLike[str]

#: Seconds between SIGTERM and SIGKILL at the end of a block.
_GRACE = 0.5


class Process:
    """A program that runs, with pipes to its stdin and from its stdout. It belongs to the block that opened it."""

    def __init__(self, child: Child) -> None:
        self._child = child
        #: Lines that have come and that no call has received.
        self._ahead: deque[bytes] = deque()

    @property
    def pid(self) -> int:
        """Its number, which is its group's too."""
        return self._child.pid

    def __repr__(self) -> str:
        code = self._child.returncode
        return f"<Process pid={self.pid} {'running' if code is None else f'returncode={code}'}>"

    async def send(self, line: bytes) -> None:
        """Writes a line to its stdin, with a line end if it has none; returns when the pipe has taken it.

        Raises BrokenPipeError when the process reads no more. A send that is cancelled before its first byte is left
        out; one that has begun is still written to its end.
        """
        try:
            await _native.process_send(self._child, line if line.endswith(b"\n") else line + b"\n")
        except TypeError:
            if isinstance(cast("object", line), str):
                raise TypeError("send() takes bytes, not str: write send(line.encode())") from None
            raise
        except BrokenPipeError:
            raise _gone(self._child, "reads no more") from None

    async def receive(self) -> bytes:
        """The next line of its stdout, of whatever length, without its line end.

        Raises BrokenPipeError at the end of the output, so that one error says that the process is gone, in whichever
        half of an exchange that is noticed.
        """
        line = self._ahead.popleft() if self._ahead else await _native.process_next(self._child, "line")
        if line is None:
            raise _gone(self._child, "writes no more")
        return line.removesuffix(b"\n")

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of its stdout, without their line ends, up to the end."""
        while True:
            while self._ahead:
                yield self._ahead.popleft().removesuffix(b"\n")
            lines = await _native.process_next(self._child, "lines")
            if lines is None:
                return
            self._ahead.extend(lines)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its stdout as it comes, up to the end."""
        while True:
            if self._ahead:
                ahead = b"".join(self._ahead)
                self._ahead.clear()
                yield ahead
            chunk = await _native.process_next(self._child, "chunk")
            if chunk is None:
                return
            yield chunk

    async def close_stdin(self) -> None:
        """Ends its stdin, after what has been sent."""
        await _native.process_close_stdin(self._child)

    def signal(self, number: int, /) -> None:
        """Sends a signal to the whole group. Raises ProcessLookupError when the process is over."""
        self._child.signal(number)

    async def wait(self) -> int:
        """Waits until the process has ended: its exit code, or the signal that ended it as a negative number.

        A process that writes more than is read of its output waits for its reader: read it, or the wait may be long.
        """
        return await _native.process_wait(self._child)


def _gone(child: Child, how: str) -> BrokenPipeError:
    code = child.returncode
    state = "it has closed the pipe" if code is None else f"it has ended with {code}"
    return BrokenPipeError(errno.EPIPE, f"process {child.pid} {how}: {state}. Open another one to go on")


def run(
    *argv: StrPath,
    input: bytes | None = None,  # noqa: A002
    check: bool = True,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    max_output: int | None = None,
) -> Effect[Completed]:
    """Runs a program to its end: what it wrote, and its exit code.

    It is over when the program has ended and no process of its group holds its stdout or stderr; what is left of
    the group then is killed. `env` is all of its environment, by default this process's as it is when the effect is
    made. Relative programs are looked for as `subprocess` does, in the PATH of that environment.

    Raises subprocess.CalledProcessError, with output and stderr, for an exit code other than 0, unless `check` is
    False. A Timeout kills the group; its TimedOut then has a subprocess.TimeoutExpired with the output up to then as
    its cause. A program that writes more than `max_output` bytes, to both together, has its group killed too: a
    subprocess.SubprocessError.
    """
    if max_output is not None:
        count(max_output, "process.run", "max_output")
    try:
        return _native.process_run(checked("process.run", argv), input, check, cwd, _pairs(env), max_output)
    except TypeError:
        if isinstance(cast("object", input), str):
            raise TypeError("process.run(input=) takes bytes, not str: write input=text.encode()") from None
        raise


def open(  # noqa: A001
    *argv: StrPath, cwd: StrPath | None = None, env: Mapping[str, str] | None = None
) -> AbstractAsyncContextManager[Process]:
    """Starts a program to talk to: `async with process.open("bc") as p:`.

    Leaving the block closes its stdin and sends SIGTERM to the group; half a second later, or when the program has
    ended, what is left of the group is killed. An error or a cancel in the block kills at once. Either way the block
    ends when the program has been reaped and its pipes are closed. Its stderr goes where this process's goes.

    Raises OSError, with errno and filename, when it cannot be started.
    """
    pairs = _pairs(env)
    return _Block(checked("process.open", argv), cwd, None if pairs is None else dict(pairs))


class _Block(AsyncBlockOnly, AbstractAsyncContextManager[Process]):
    _block = "process.open(...) as p"

    def __init__(self, argv: tuple[StrPath, ...], cwd: StrPath | None, env: Mapping[str, str] | None) -> None:
        self._command = argv, cwd, env
        self._entered = False
        self._child: Child | None = None

    async def __aenter__(self) -> Process:
        if self._entered:
            raise RuntimeError("a process.open() is entered once: make another")
        self._entered = True
        self._child = await start(*self._command, stderr=False)
        return Process(self._child)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._child is not None
        with shielded(error):
            await _native.process_end(self._child, _GRACE if kind is None else 0.0)


async def start(
    argv: tuple[StrPath, ...], cwd: StrPath | None, env: Mapping[str, str] | None, *, stderr: bool
) -> Child:
    """A child that the runtime of the current code sweeps if it is left over."""
    scope = _scope.current()
    return await _native.process_open(argv, cwd, _pairs(env), stderr, None if scope is None else scope._number)


def checked(owner: str, argv: tuple[StrPath, ...]) -> tuple[StrPath, ...]:
    """A program and its arguments; a ConfigError if they can be none."""
    if not argv:
        raise ConfigError(f"{owner}(): needs a program to run")
    for each in argv:
        given: object = each
        if not isinstance(given, (str, bytes, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            advice = f"write {owner}(*argv)" if isinstance(given, (list, tuple)) else "convert it by str()"
            shown = reprlib.repr(given)
            raise ConfigError(f"{owner}({shown}): takes the program and each argument as a text of its own: {advice}")
    return argv


def _pairs(env: Mapping[str, str] | None) -> list[tuple[str, str]] | None:
    if env is None:
        return None
    if not isinstance(cast("object", env), Mapping):
        raise TypeError(
            f"env= takes a mapping of str to str, not {type(env).__name__}: write env={{**os.environ, ...}}"
        )
    for name, value in env.items():
        if not (isinstance(cast("object", name), str) and isinstance(cast("object", value), str)):
            raise TypeError(f"env= takes str for str, not {name!r}: {value!r}: convert it by str()")
    return list(env.items())
