"""Processes: a program run to its end, or one to talk to while it lives, by pipes or on a terminal.

Each child leads a process group of its own, and the whole group goes when its time is up: on a timeout, a cancel, an
error, at the end of the block. It is reaped before the await ends. Its stdin is closed to it unless one writes there
(`run` gives it `input`, or nothing; never the terminal). On Linux the child is killed when this process dies, however
that happens, and a small guard process ends what the child has started.

Failures raise what `subprocess` raises: FileNotFoundError and its kin with errno and filename for programs that do not
start, CalledProcessError, and TimeoutExpired as the cause of a TimedOut. No shell is involved.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Never, cast

from .. import _native
from .._native import Completed, Effect
from .._tasks import scope as _scope
from .._tasks.pretended import programs
from ..policy._numbers import count
from ._answered import answered, started
from ._live import Live
from ._misused import foreign
from ._process import Block, Process, StrPath, checked
from ._terminal import Terminal, terminal

__all__ = ["Completed", "Process", "Terminal", "open", "run", "terminal"]


def run(
    *argv: StrPath,
    input: bytes | None = None,  # noqa: A002
    check: bool = True,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    max_output: int | None = None,
    **other: Never,
) -> Effect[Completed]:
    """Runs a program to its end: what it wrote, and its exit code.

    It is over when the program has ended and no process holds its stdout or stderr, as one that it left in the
    background may do; what is left of the group then is killed. `env` is all of its environment, by default this
    process's as it is when the effect is made. Relative programs are looked for as `subprocess` does, in the PATH of
    that environment.

    Raises subprocess.CalledProcessError, with output and stderr, for an exit code other than 0, unless `check` is
    False. A Timeout kills the group; its TimedOut then has a subprocess.TimeoutExpired with the output up to then as
    its cause. A program that writes more than `max_output` bytes, to both together, has its group killed too: a
    subprocess.SubprocessError.
    """
    if other:
        raise foreign("process.run", other)
    if max_output is not None:
        count(max_output, "process.run", "max_output")
    argv, pairs = checked("process.run", argv), _pairs(env)
    try:
        if programs:
            return answered(argv, input, check, cwd, env, max_output)
        return _native.process_run(argv, input, check, cwd, pairs, max_output)
    except TypeError:
        if isinstance(cast("object", input), str):
            raise TypeError("process.run(input=) takes bytes, not str: write input=text.encode()") from None
        raise


def open(  # noqa: A001
    *argv: StrPath, cwd: StrPath | None = None, env: Mapping[str, str] | None = None, **other: Never
) -> AbstractAsyncContextManager[Process]:
    """Starts a program to talk to: `async with process.open("bc") as p:`.

    Leaving the block closes its stdin and sends SIGTERM to the group; half a second later, or when the program has
    ended, what is left of the group is killed. An error or a cancel in the block kills at once. Either way the block
    ends when the program has been reaped and its pipes are closed. Its stderr goes where this process's goes.

    Raises OSError, with errno and filename, when it cannot be started.
    """
    if other:
        raise foreign("process.open", other)
    argv, pairs = checked("process.open", argv), _pairs(env)
    fixed = None if pairs is None else dict(pairs)
    return _Block(lambda: start(argv, cwd, fixed, stderr=False), Process)


class _Block(Block[Process]):
    _block = "process.open(...) as p"


async def start(argv: tuple[StrPath, ...], cwd: StrPath | None, env: Mapping[str, str] | None, *, stderr: bool) -> Live:
    """A child that the runtime of the current code sweeps if it is left over."""
    if programs:
        return await started("process.open", argv, cwd, env, None, stderr=stderr)
    scope = _scope.current()
    return await _native.process_open(argv, cwd, _pairs(env), stderr, None if scope is None else scope._number)


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
