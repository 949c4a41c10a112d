"""A worker on Ray: an actor that serves calls."""

import asyncio
import functools
import os
import pickle
import sys
import traceback
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from . import _pool
from ._counts import Counts
from ._frames import Kind
from ._records import TEXT, forward
from ._served import Served

__all__ = ["Actor"]


#: Seconds after a call until its counts are told, and for the last that a worker has to say.
_COUNTS, _LAST = 1.0, 0.1


class Actor:
    """A worker: an engine calls its methods from afar, and they run side by side in one event loop."""

    def __init__(self) -> None:
        self._served: Served | None = None
        self._counts: Counts | None = None
        #: A telling of counts is due.
        self._due = False

    async def start(self, hello: bytes) -> tuple[int, str]:
        """Makes the runtime. Gives the pid of its process, and why it cannot start; empty where it can."""
        self._served = served = Served()
        self._counts = Counts(served.say)
        try:
            prepared, runtime, level = pickle.loads(hello)
            forward(level, functools.partial(served.say, Kind.LOG))
            _find_program(prepared)
            await served.start(pickle.loads(runtime))
        except BaseException as error:
            return os.getpid(), "".join(traceback.format_exception(error))[-TEXT:].strip()
        return os.getpid(), ""

    async def call(self, packet: bytes, *pieces: Any) -> Any:
        """Runs a call."""
        assert self._served is not None
        if not self._due:
            self._due = True
            self._served.later(_COUNTS, self._tell_counts)
        return await self._served.call(packet, pieces)

    def _tell_counts(self) -> None:
        self._due = False
        if self._counts is not None:
            self._counts.send()

    async def cancel(self, number: int) -> None:
        """Asks a call to end."""
        assert self._served is not None
        self._served.cancel(number)

    async def hears(self) -> None:
        """Says that the worker is there."""

    async def events(self) -> list[tuple[Kind, bytes]]:
        """Waits for what the worker has to say."""
        assert self._served is not None
        return await self._served.events()

    async def stop(self) -> tuple[list[str], list[tuple[Kind, bytes]]]:
        """Ends the runtime. Gives its parts that did not end in order, and the last events."""
        if self._served is None:
            return [], []
        late = await self._served.stop()
        self._tell_counts()
        await asyncio.sleep(_LAST)  # spans come a moment later
        return late, self._served.left()


def _find_program(prepared: dict[str, Any]) -> None:
    """Has this process import from where the program does, and the program itself, where they are on this machine."""
    for path in prepared.get("sys_path", ()):
        if path not in sys.path and Path(path).exists():
            sys.path.append(path)
    main: dict[str, Any] = {
        key: prepared[key] for key in ("init_main_from_name", "init_main_from_path") if key in prepared
    }
    path = main.get("init_main_from_path")
    if path is None or Path(path).exists():
        # Code of the program that uses a pool as it is imported would begin itself again.
        _pool.importing = True
        try:
            spawn.prepare(main)
        finally:
            _pool.importing = False
