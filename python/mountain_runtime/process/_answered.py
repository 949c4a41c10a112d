"""Programs that a test answers, as effects."""

import subprocess
from collections.abc import Mapping

from .._effect.effect import effect
from .._native import Completed, Effect
from .._tasks.pretended import programs
from ._process import StrPath

__all__ = ["answered"]


def answered(
    argv: tuple[StrPath, ...],
    data: bytes | None,
    check: bool,
    cwd: StrPath | None,
    env: Mapping[str, str] | None,
    max_output: int | None,
) -> Effect[Completed]:
    """A run that the innermost block of `testing.process` answers."""
    answer, given = programs[-1], None if env is None else dict(env)
    content = b"" if data is None else bytes(memoryview(data))

    @effect(name="process.run")
    async def run(*argv: StrPath) -> Completed:
        completed = await answer(argv, content, cwd, given)
        out, err = completed.stdout, completed.stderr
        if max_output is not None and len(out) + len(err) > max_output:
            raise subprocess.SubprocessError(f"command {list(argv)} wrote more than max_output={max_output} bytes")
        if check and completed.returncode:
            raise subprocess.CalledProcessError(completed.returncode, list(argv), out, err)
        return completed

    return run(*argv)
