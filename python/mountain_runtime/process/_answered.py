"""The starts of programs that a test plays, as effects."""

import subprocess
from collections.abc import Mapping

from .._effect.effect import effect
from .._native import Completed, Effect
from .._tasks.pretended import programs
from ._live import Live
from ._played import Played
from ._process import StrPath

__all__ = ["answered", "started"]


def answered(
    argv: tuple[StrPath, ...],
    data: bytes | None,
    check: bool,
    cwd: StrPath | None,
    env: Mapping[str, str] | None,
    max_output: int | None,
) -> Effect[Completed]:
    """A run that the innermost block of `testing.process` answers."""
    test, given = programs[-1], None if env is None else dict(env)
    content = b"" if data is None else bytes(memoryview(data))

    @effect(name="process.run")
    async def run(*argv: StrPath) -> Completed:
        completed = await test.run(argv, content, cwd, given)
        out, err = completed.stdout, completed.stderr
        if max_output is not None and len(out) + len(err) > max_output:
            raise subprocess.SubprocessError(f"command {list(argv)} wrote more than max_output={max_output} bytes")
        if check and completed.returncode:
            raise subprocess.CalledProcessError(completed.returncode, list(argv), out, err)
        return completed

    return run(*argv)


def started(
    name: str,
    argv: tuple[StrPath, ...],
    cwd: StrPath | None,
    env: Mapping[str, str] | None,
    terminal: tuple[int, int] | None,
    *,
    stderr: bool = False,
) -> Effect[Live]:
    """A program that the innermost block of `testing.process` plays; `name` is what counts its start."""
    test = programs[-1]

    @effect(name=name)
    async def start(*argv: StrPath) -> Live:
        return Played(await test.open(argv, cwd, env, terminal, stderr=stderr))

    return start(*argv)
