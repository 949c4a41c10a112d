"""The begin of a worker, and its end in words."""

import asyncio
import logging
import os
import pickle
import signal
import socket
import sys
from multiprocessing import spawn, util
from pathlib import Path
from typing import Any

from .. import _native
from ..errors import NoWorkers
from . import _stderr
from ._frames import Kind, frame
from ._member import Member
from ._settings import Settings

__all__ = ["begin", "ended"]

_CODE = "import sys; sys.path.insert(0, {path!r}); from mountain_runtime.pools._worker import main; main()"


async def begin(settings: Settings, number: int, loop: asyncio.AbstractEventLoop) -> Member:
    """Starts a worker."""
    first = _hello(settings)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        member = Member(ours, number, first)
        try:
            member.stderr = stderr = _stderr.Stderr(loop)
            member.send(frame(Kind.HELLO, member.number), os.dup(member.page_fd))
            member.send(frame(Kind.STDERR), os.dup(2))
            member.child = await _native.process_worker(_argv(), theirs.fileno(), stderr.theirs, None)
            stderr.begin()
        except BaseException:
            member.close()
            raise
    member.pid = member.child.pid
    return member


def _argv() -> tuple[str, ...]:
    """The command line of a worker: this interpreter, with its flags, and this package."""
    executable = os.fsdecode(spawn.get_executable())
    path = str(Path(__file__).parents[2])
    return executable, *util._args_from_interpreter_flags(), "-c", _CODE.format(path=path)  # type: ignore[attr-defined]


def _hello(settings: Settings) -> bytes:
    """The first message to a worker. Objects of the program are packed by themselves: a worker reads them when it has
    found the program.
    """
    prepared: dict[str, Any] = spawn.get_preparation_data(f"{settings.name} worker")
    prepared.pop("authkey", None)
    try:
        runtime = pickle.dumps(settings.runtime, 5)
    except Exception as error:
        raise NoWorkers(f"runtime={settings.runtime!r} cannot be pickled: write a function in a module") from error
    return pickle.dumps((prepared, settings.per_worker, runtime, logging.getLogger().level), 5)


def ended(code: int) -> str:
    """How a process has ended, in words."""
    if code >= 0:
        return f"it exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    what = "; the system does so where memory is short" if -code == signal.SIGKILL and sys.platform == "linux" else ""
    return f"it was killed by {name}{what}"
