"""A worker's end for engines that carry calls and answers by themselves: calls become effects of a runtime.

1. `start` makes the runtime, in the event loop in which all else is called.
2. `call` runs one call, and gives its answer. One whose function does not stop says so: its engine ends the worker.
3. `cancel` asks a call to end.
4. `events` waits for what else there is to say: records of the log, and spans.
5. `stop` ends the runtime.
"""

import asyncio
import contextlib
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, cast

from .._effect.remote import Remote
from .._effect.stoppable import Stoppable, begun_here
from .._runtime.runtime import Runtime
from .._tasks.exits import EXITS
from ..errors import ConfigError
from ._answers import HEAD, End
from ._call import envelope
from ._failures import packed as packed_error
from ._frames import Kind
from ._functions import came_back, watch
from ._packing import Packed, pack, unpack_pieces
from ._work import enter, found

__all__ = ["Served", "hosted"]

#: Events that wait to be heard, and cancels of calls that are not here: the oldest of more are left out.
_EVENTS, _EARLY = 10_000, 1000


class Served:
    """The calls of one worker."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        #: Calls that were cancelled before they came, or as they ended; the latest ones.
        self._early: dict[int, None] = {}
        #: The context of calls: that of the runtime's block.
        self._context: list[tuple[ContextVar[Any], Any]] = []
        self._events: deque[tuple[Kind, bytes]] = deque(maxlen=_EVENTS)
        self._told = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runtime: asyncio.Task[list[str]] | None = None

    async def start(self, make: Callable[[], Runtime] | None) -> None:
        """Step 1. Raises what the start of the runtime raises."""
        ready: asyncio.Future[None] = self._loop.create_future()
        self._runtime = asyncio.create_task(self._live(hosted(make), ready))
        both: list[asyncio.Future[Any]] = [ready, self._runtime]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if self._runtime.done():
            self._runtime.result()

    async def _live(self, runtime: Runtime, ready: "asyncio.Future[None]") -> list[str]:
        async with runtime:
            self._context = list(copy_context().items())
            ready.set_result(None)
            await self._stopping.wait()
        report = runtime.report
        return [step.name for step in report.steps if step.outcome != "done"] if report is not None else []

    async def call(self, packet: bytes, pieces: Sequence[Any] = ()) -> bytes | tuple[bytes, list[pickle.PickleBuffer]]:
        """Step 2: in a task of the call's own. Gives the packet of the answer, with the memory of a large value."""
        number, left = HEAD.unpack_from(packet)
        for variable, value in self._context:
            variable.set(value)
        task = self._tasks[number] = cast("asyncio.Task[Any]", asyncio.current_task())
        if number in self._early:
            task.cancel()
        begun: list[Stoppable] = []
        begun_here.set(begun)
        watcher: asyncio.Task[None] | None = None
        end, memory = End.ERROR, list[pickle.PickleBuffer]()
        try:
            module, qualname, version, meta, arguments = envelope(memoryview(packet)[HEAD.size :])
            remote = found(module, qualname, version)
            if remote.threads:
                watcher = asyncio.create_task(watch(begun, lambda: self._say(Kind.STUCK, str(number).encode())))
            args, kwargs = unpack_pieces(arguments, pieces)
            if meta is not None:
                enter((time.monotonic() + left if left >= 0 else None, *meta[1:]), remote.name, self)
            packed = _packed(remote, await remote.inner(*args, **kwargs))
            end, body, memory = End.VALUE, packed.body, packed.pieces
        except EXITS as error:
            end, body = End.EXIT, f"it ended by {type(error).__name__}: {error}".encode()[:4096]
        except BaseException as error:
            body = packed_error(error)
        if watcher is not None:
            watcher.cancel()
            if not await came_back(begun):
                end |= End.STUCK
        del self._tasks[number]
        answer = bytes((end,)) + body
        return (answer, memory) if memory else answer

    def cancel(self, number: int) -> None:
        """Step 3. A function that does not stop ends with its worker, a coroutine when its cleanup has ended."""
        if (task := self._tasks.get(number)) is not None:
            task.cancel()
        else:  # it overtook its call, or the answer: numbers do not come in order
            self._early[number] = None
            if len(self._early) > _EARLY:
                del self._early[next(iter(self._early))]

    async def events(self) -> list[tuple[Kind, bytes]]:
        """Step 4. Gives what there is, as soon as there is something."""
        await self._told.wait()
        return self.left()

    def left(self) -> list[tuple[Kind, bytes]]:
        """Events that are not heard yet."""
        self._told.clear()
        events = list(self._events)
        self._events.clear()
        return events

    def say(self, kind: Kind, body: bytes) -> None:
        """An event, from any thread."""
        self._in_loop(self._say, kind, body)

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        """Calls `step` in the loop, so much later."""
        self._in_loop(self._loop.call_later, seconds, step)

    def _in_loop(self, step: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has closed
            self._loop.call_soon_threadsafe(step, *args)

    def _say(self, kind: Kind, body: bytes) -> None:
        self._events.append((kind, body))
        self._told.set()

    async def stop(self) -> list[str]:
        """Step 5. Gives the parts of the runtime that did not end in order."""
        self._stopping.set()
        return await self._runtime if self._runtime is not None else []


def hosted(make: Callable[[], Runtime] | None) -> Runtime:
    """The runtime of a worker. Raises ConfigError for what makes none."""
    made: Any = Runtime() if make is None else make()
    if not isinstance(made, Runtime):
        raise ConfigError(f"runtime= gave {made!r}: it must make a Runtime")
    return made


def _packed(remote: Remote, value: object) -> Packed:
    try:
        return pack(value, value)
    except Exception as error:
        raise pickle.PicklingError(
            f"the result of {remote.name} cannot be pickled: {error}. The function has run"
        ) from error
