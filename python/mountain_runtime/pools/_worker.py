"""A worker process: it finds the program, makes a runtime, and serves calls until its pool has no more.

Its stdin is its end of the socket pair. What it prints goes where the program's own output goes.
"""

import asyncio
import contextlib
import functools
import mmap
import os
import pickle
import socket
import sys
import traceback
from multiprocessing import spawn

from . import _pool, _stderr
from ._frames import Kind, Link, frame
from ._host import Host
from ._records import TEXT, forward
from ._served import hosted

__all__ = ["main"]


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
    forward(level, functools.partial(host.say, Kind.LOG))
    # Code of the program that uses a pool as it is imported would begin itself again, for ever.
    _pool.importing = True
    spawn.prepare(prepared)
    _pool.importing = False
    make = pickle.loads(runtime)
    host.runtime = hosted(make)
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
    lines = "".join(traceback.format_exception(error))[-TEXT:]
    with contextlib.suppress(OSError):
        link.send(frame(Kind.FAILED, body=lines.strip().encode()))
    os._exit(1)
