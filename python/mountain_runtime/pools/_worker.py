"""A worker process: it finds the program, makes a runtime, and serves calls until its pool has no more.

Its stdin is its end of the socket pair. What it prints goes where the program's own output goes.
"""

import asyncio
import contextlib
import logging
import logging.handlers
import mmap
import os
import pickle
import socket
import sys
import traceback
from multiprocessing import spawn
from typing import Any, cast

from .._runtime.runtime import Runtime
from ..errors import ConfigError
from . import _pool, _stderr
from ._frames import Kind, Link, frame
from ._host import Host

__all__ = ["main"]

#: Bytes of a failure's text.
_TEXT = 8192


def main() -> None:
    """A worker's life."""
    end = socket.socket(fileno=os.dup(0))
    os.set_inheritable(end.fileno(), False)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    link = Link(end, blocks=True)
    try:
        host, stderr = _begin(link)
    except BaseException as error:
        _fail(link, error)
    else:
        try:
            asyncio.run(_serve(host, link, stderr))
        except BaseException as error:
            if not host.ready:
                _fail(link, error)
            raise
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # threads that are left do not keep it


def _begin(link: Link) -> tuple[Host, int]:
    """Reads the first messages, finds the program, and makes the runtime. Gives the program's stderr, too."""
    received, second = link.receive(wait=True), link.receive(wait=True)
    if received is None or received[1] is None or second is None or second[1] is None:
        os._exit(0)  # the pool has gone
    (_, number, _, _), page = received[0][0], received[1]
    marks = mmap.mmap(page, mmap.PAGESIZE)
    with os.fdopen(page, "rb") as file:
        file.seek(mmap.PAGESIZE)
        prepared, per_worker, runtime, level = pickle.load(file)
    host = Host(link, marks, per_worker, number)
    root = logging.getLogger()
    root.addHandler(_Forward(host))
    root.setLevel(level)
    # Code of the program that uses a pool as it is imported would begin itself again, for ever.
    _pool.importing = True
    spawn.prepare(prepared)
    _pool.importing = False
    make = pickle.loads(runtime)
    made: object = Runtime() if make is None else make()
    if not isinstance(made, Runtime):
        raise ConfigError(f"runtime= gave {made!r}: it must make a Runtime")
    host.runtime = made
    return host, second[1]


async def _serve(host: Host, link: Link, stderr: int) -> None:
    async with host.runtime as runtime:
        _stderr.take(stderr)
        link.send(frame(Kind.READY))
        await host.serve()
    host.counts.send()
    report = runtime.report
    late = [step.name for step in report.steps if step.outcome != "done"] if report is not None else []
    with contextlib.suppress(OSError):
        link.send(frame(Kind.REPORT, body=pickle.dumps(late)))


def _fail(link: Link, error: BaseException) -> None:
    lines = "".join(traceback.format_exception(error))[-_TEXT:]
    with contextlib.suppress(OSError):
        link.send(frame(Kind.FAILED, body=lines.strip().encode()))
    os._exit(1)


class _Forward(logging.handlers.QueueHandler):
    """Records of this process's loggers go to the program's."""

    def __init__(self, host: Host) -> None:
        super().__init__(cast("Any", host))

    def enqueue(self, record: logging.LogRecord) -> None:
        host = cast("Host", self.queue)
        with contextlib.suppress(OSError):
            host.log({**record.__dict__, "msg": record.getMessage()[:_TEXT], "message": None, "args": None})
