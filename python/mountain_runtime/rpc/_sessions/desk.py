"""The desk: runs what one caller asks of a router. Requests side by side, up to a bound; notifications in their order.

1. A request is bound to its command, and waits for a place among those at work.
2. It runs in a task and a context of its own, which knows its caller. A stream sends its items as they come.
3. It is answered once: with its result, its error, or why it was ended. Then the next that waits has its place.
4. The caller cancels it by its id; a caller that goes away cancels all. Cleanup is awaited.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

import msgspec

from ..._tasks.exits import EXITS
from ..._tasks.outlast import outlast
from ..._tasks.users_errors import said
from ...telemetry import _logs
from .._commands.bind import WrongParams
from .._commands.caller import Caller, caller_var
from .._commands.table import Table
from .._messages import codes
from .._messages.json import encode
from .._messages.messages import Envelope, Invalid, Malformed, Unanswerable, answer, failure, key_of, refusal
from .._record.record import Record
from .._wires.wire import Wire
from .counts import Counts
from .meta import enter, read_meta
from .streaming import send_items
from .work import Reply, Work

__all__ = ["WAITING", "Desk"]

#: Requests of one caller that are at work at once, and messages that wait, until no more of them is read.
_AT_ONCE, WAITING = 256, 4096

_log = _logs.logger("rpc")


class Desk:
    """Of one connection."""

    def __init__(self, table: Table | None, caller: Caller, context: Context, wire: Wire, send: Reply) -> None:
        self._table = table
        self._caller = caller
        #: That of each task, but for what its request says of itself.
        self._context = context.copy()
        self._context.run(caller_var.set, caller)
        self._wire, self._send = wire, send
        self._loop = asyncio.get_running_loop()
        self._record: Record | None = None if table is None else table.record
        self.counts = Counts(table, caller)
        #: Requests by their ids, those that wait included.
        self._requests: dict[Any, Work] = {}
        self._line: deque[Work] = deque()
        self._at_work = 0
        self._notifications: deque[Work] = deque()
        self._notified: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], Work] = {}
        #: Called once when half of what may wait is free again.
        self.has_room: Callable[[], None] | None = None
        #: Nothing new is taken.
        self.draining = False
        #: The exit that a command raised, to end the program, and done when there is one.
        self.exit: BaseException | None = None
        self.exits: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Messages that wait for their turn."""
        return len(self._line) + len(self._notifications)

    # -- step 1 -------------------------------------------------------------------------------------------------------

    def hear(self, envelope: Envelope, reply: Reply) -> None:
        """A request or a notification. Raises Invalid or Malformed for what is none."""
        written = bytes(envelope.id)
        key = key_of(written) if written else None
        if envelope.jsonrpc != "2.0":
            raise Invalid('it needs "jsonrpc": "2.0"')
        name = envelope.method
        assert isinstance(name, str)
        if envelope.params and memoryview(envelope.params)[0] not in b"{[n":
            raise Invalid("params are an object or an array")
        if not written:
            self._notify(name, envelope)
            return
        if self.draining:
            self.counts.refused(name, "shutting_down")
            reply(failure(written, _shutting_down("it was not started", may_have_run=False)))
            return
        command = None if self._table is None else self._table.commands.get(name)
        if command is None:
            if name == "rpc.discover" and self._table is not None:
                reply(answer(written, encode(self._table.openrpc())))
                return
            told = codes.not_found(name)
            self.counts.refused(name, "unknown")
            if self._record is not None:
                tag = self._record.begins(name[:200], envelope.params, self._caller.id, self._loop)
                self._record.ended(tag, name, "error", told, self._loop)
            reply(failure(written, told))
            return
        if key in self._requests:
            raise Unanswerable(
                f"the id {written[:100].decode(errors='replace')} is that of a request that is not answered yet"
            )
        meta = read_meta(envelope.meta, name) if envelope.meta else None
        work = Work(command, envelope.params, key, written, reply, meta)
        self._begins(work)
        self._requests[key] = work
        if self._at_work < _AT_ONCE:
            self._start(work)
        else:
            self._line.append(work)

    def _notify(self, name: str, envelope: Envelope) -> None:
        command = None if self._table is None else self._table.commands.get(name)
        if self.draining or command is None or command.streams:
            end = "shutting_down" if self.draining else "unknown" if command is None else "invalid"
            self.counts.refused(name, end)
            return
        meta = read_meta(envelope.meta, name) if envelope.meta else None
        work = Work(command, envelope.params, None, b"", None, meta)
        self._begins(work)
        self._notifications.append(work)
        if self._notified is None:
            self._next_notification()

    def _begins(self, work: Work) -> None:
        self.counts.begins(work)
        if self._record is not None:
            work.tag = self._record.begins(work.command.name, work.params, self._caller.id, self._loop)

    def _ended(self, work: Work, what: str, value: Any) -> None:
        self.counts.ended(work, what, value)
        if work.tag is not None and self._record is not None:
            tag, work.tag = work.tag, None
            self._record.ended(tag, work.command.name, what, value, self._loop)

    def _next_notification(self) -> None:
        self._notified = self._task(self._notifications.popleft()) if self._notifications else None

    # -- steps 2 and 3 ------------------------------------------------------------------------------------------------

    def _start(self, work: Work) -> None:
        self._at_work += 1
        work.task = self._task(work)

    def _task(self, work: Work) -> "asyncio.Task[None]":
        context = self._context.copy()
        if work.meta is not None:
            enter(context, work.meta)
        task = self._loop.create_task(self._run(work), name=work.command.name, context=context)
        self._tasks[task] = work
        task.add_done_callback(self._over)
        return task

    def _over(self, task: "asyncio.Task[None]") -> None:
        work = self._tasks.pop(task)
        if work.began is not None:  # cancelled before its first step
            self._fail(work, asyncio.CancelledError())
        if self.has_room is not None and self.waiting <= WAITING // 2:
            has_room, self.has_room = self.has_room, None
            has_room()
        if work.task is None:
            self._next_notification()
            return
        self._at_work -= 1
        if self._requests.get(work.key) is work:
            del self._requests[work.key]
        while self._line and self._at_work < _AT_ONCE:
            self._start(self._line.popleft())

    async def _run(self, work: Work) -> None:
        command = work.command
        try:
            args, kwargs = command.bound.arguments(work.params)
            work.params = msgspec.Raw()
            if command.streams:
                result: Any = await send_items(work, command.runs(*args, **kwargs), self._wire, self._send)
            else:
                result = await command.runs(*args, **kwargs)
            written = encode(result)
            del result
        except EXITS as error:
            self._fail(work, asyncio.CancelledError())
            self.exit = error
            if self.exits is not None and not self.exits.done():
                self.exits.set_result(None)
        except asyncio.CancelledError as error:
            self._fail(work, error)
        except Exception as error:
            self._fail(work, error)
        except BaseException as error:  # of the program's own, which the loop reports
            if not isinstance(error, GeneratorExit):
                self._fail(work, error)
            raise
        else:
            self._ended(work, "result", written)
            if work.reply is not None:
                reply, work.reply = work.reply, None
                reply(answer(work.id, written))
                if self._at_work == 1:  # no other answer is to go with it
                    self._wire.flush()

    def _fail(self, work: Work, error: BaseException) -> None:
        reply, work.reply = work.reply, None
        name = work.command.name
        if reply is None and not work.id and not isinstance(error, asyncio.CancelledError):
            _log.warning("the notification %r failed: %.1000r", name, said(error))  # callers' texts forge no line
        if work.began is None:
            return
        if isinstance(error, Malformed):
            told: dict[str, Any] = {"code": codes.PARSE, "message": f"no JSON: {error}"[:500]}
        elif isinstance(error, WrongParams):
            told = codes.wrong(error)
        elif not isinstance(error, asyncio.CancelledError):
            assert self._table is not None
            told = codes.told(error, tracebacks=self._table.tracebacks)
        elif work.ended_by is not None and work.ended_by != "caller":
            told = _shutting_down(work.ended_by, may_have_run=work.task is not None)
        else:
            told = codes.cancelled(name)
        self._ended(work, "error", told)
        if reply is not None:
            reply(refusal(error) if isinstance(error, Malformed) else failure(work.id, told))

    # -- step 4 -------------------------------------------------------------------------------------------------------

    def cancel(self, key: Any) -> None:
        """The caller cancels a request of its own; one that has been answered is none any more."""
        work = self._requests.get(key)
        if work is not None and work.ended_by is None:
            self._end(work, "caller")

    def credit(self, key: Any, items: int) -> None:
        """The caller takes so many items more."""
        work = self._requests.get(key)
        if work is not None and work.credit is not None:
            work.credit += items
            if work.wakes is not None and not work.wakes.done():
                work.wakes.set_result(None)

    def _end(self, work: Work, by: str) -> None:
        work.ended_by = by
        if work.task is not None:
            work.task.cancel()
            return
        self._line.remove(work)
        self._requests.pop(work.key, None)
        self._fail(work, asyncio.CancelledError())

    async def drain(self) -> None:
        """Returns when what is in flight has been answered. What waits, and the streams then, are ended."""
        self.draining = True
        for work in list(self._line):
            self._end(work, "it was not started")
        streams = {work.task for work in self._requests.values() if work.command.streams}
        while left := self._tasks.keys() - streams:
            await asyncio.wait(left)
        for work in list(self._requests.values()):
            if work.ended_by is None:
                self._end(work, "its stream was ended")
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def cancel_all(self, why: str, *, asked: bool) -> "asyncio.CancelledError | None":
        """Cancels everything, and waits for its cleanup. Gives a cancel that came meanwhile."""
        self.draining = True
        while self._notifications:
            self._fail(self._notifications.popleft(), asyncio.CancelledError())
        for work in list(self._line):
            self._end(work, why)
        for work in list(self._requests.values()):
            if work.ended_by is None:
                self._end(work, why)
        for task in list(self._tasks):  # notifications, too
            if task is self._notified:
                task.cancel()
        return await outlast(set(self._tasks), asked=asked)


def _shutting_down(why: str, *, may_have_run: bool) -> dict[str, Any]:
    advice = "it may have run: repeat only what may run twice" if may_have_run else "it has not run"
    return {
        "code": codes.SHUTTING_DOWN,
        "message": f"the host shuts down: {why}; {advice}",
        "data": {"type": "ShuttingDown", "may_have_run": may_have_run},
    }
