"""A session: one connection, whose messages are read, told apart, and answered by its desk or given to its calls."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET

from .._commands.caller import Caller
from .._commands.table import Table
from .._messages import codes
from .._messages.framing import Framing, framed, frames
from .._messages.messages import (
    Envelope,
    Invalid,
    Malformed,
    Unanswerable,
    failure,
    key_of,
    open_batch,
    open_message,
    refusal,
)
from .._wires.wire import HIGH, Wire
from .desk import WAITING, Desk
from .work import Batch, Reply

__all__ = ["Answered", "Session"]

#: Bytes of a message that is not joined with its frame.
_LARGE = 1 << 16
#: Where this end calls too: messages that wait, and bytes that wait to be sent, its own requests among them, until no
#: more is read.
_MOST_WAITING, _MOST_PENDING = 1 << 16, 128 << 20


class Answered(Protocol):
    """The calls that this end has made."""

    def answered(self, envelope: Envelope, key: Any, /) -> None: ...
    def unreadable(self, body: "bytes | bytearray", /) -> bool: ...
    def progressed(self, token: Any, items: list[Any], /) -> None: ...
    def gone(self, why: Exception | None, /) -> None: ...


class _Id(msgspec.Struct):
    id: msgspec.Raw


class _Credit(msgspec.Struct):
    token: msgspec.Raw
    items: int


class _Progress(msgspec.Struct):
    token: msgspec.Raw
    value: Any = None


class Session:
    """Ends by itself when its input does, or the other side goes; `over` is done then."""

    def __init__(
        self,
        table: Table | None,
        wire: Wire,
        framing: Framing,
        max_message: int,
        caller: Caller,
        context: Context,
        calls: Answered | None = None,
        allows: "Callable[[Session, Envelope, Reply], bool] | None" = None,
    ) -> None:
        self._wire = wire
        self._framing: Framing = framing
        self._frames = frames(framing, max_message)
        self._calls = calls
        #: Says whether a first message shows that the caller may call; None when it has.
        self.allows = allows
        self.caller = caller
        self.desk = Desk(table, caller, context, wire, self.send)
        self._paused = False
        self._ending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Reads from now on."""
        self._wire.start(self._received, self._ended)

    def send(self, pieces: list[bytes]) -> None:
        """Sends one message."""
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        before, after = framed(self._framing, size)
        if size <= _LARGE:
            self._wire.send(b"".join((before, *pieces, after)))
        else:
            self._wire.send(before, *pieces, after)

    # -- what comes ---------------------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._hear(body)
        if self._frames.failure is not None:
            self._broken()
        elif not self._paused and self._full():
            self._pause()

    def _full(self) -> bool:
        """So much waits here that no more should be read."""
        return self._waits() or self._wire.pending > (HIGH if self._calls is None else _MOST_PENDING)

    def _waits(self) -> bool:
        """An end that calls reads on for its answers, which come behind the rest: two ends that each wait for the other
        to read, or commands for answers that are not read, would wait for ever.
        """
        return self.desk.waiting >= (WAITING if self._calls is None else _MOST_WAITING)

    def _broken(self) -> None:
        """Nothing more can be told apart: it is said, and what is in flight is answered."""
        self.desk.counts.refused(None, "invalid")
        self.send(failure(b"null", {"code": codes.PARSE, "message": f"no message: {self._frames.failure}"}))
        self._wire.pause()
        self._ended(None)

    def _pause(self) -> None:
        """Until there is room again, for answers and for messages."""
        self._paused = True
        self._wire.pause()
        self._resume()

    def _resume(self, _: object = None) -> None:
        if self._ending is not None:
            return
        if self._waits():
            self.desk.has_room = self._resume
        elif self._full() and (drained := self._wire.drained()) is not None:
            drained.add_done_callback(self._resume)
        else:
            self._paused = False
            self._wire.resume()

    def _hear(self, body: "bytes | bytearray") -> None:
        try:
            batch = open_batch(body)
            if batch is None:
                self._take(open_message(body), self.send)
                return
        except (Invalid, Malformed) as error:
            if self._calls is None or not self._calls.unreadable(body):
                self.send(self._refused(error, body))
            return
        answers = Batch(self.send)
        for each in batch:
            try:
                self._take(open_message(each), answers.expect, of_batch=each)
            except (Invalid, Malformed) as error:
                answers.expect()(self._refused(error, each))
        answers.over()

    def _refused(self, error: Exception, body: "bytes | bytearray | msgspec.Raw") -> list[bytes]:
        self.desk.counts.refused(None, "invalid")
        return refusal(error, body)

    def _take(self, envelope: Envelope, reply: Any, *, of_batch: "msgspec.Raw | None" = None) -> None:
        """One message. Of a batch, `reply` is asked for where there will be an answer."""
        method = envelope.method
        if method is UNSET:
            self._take_answer(envelope)
            return
        if self.allows is not None:
            if not self.allows(self, envelope, reply if of_batch is None else reply()):
                self.allows = _refuses
                self._wire.pause()
                self._ended(None)
            return
        if method.startswith("$/") and not envelope.id:
            self._protocol(method, envelope.params)
            return
        if of_batch is None:
            self.desk.hear(envelope, cast("Reply", reply))
        elif not envelope.id:
            self.desk.hear(envelope, _no_reply)
        else:
            ahead = reply()
            try:
                self.desk.hear(envelope, ahead)
            except (Invalid, Malformed) as error:
                ahead(self._refused(error, of_batch))

    def _take_answer(self, envelope: Envelope) -> None:
        if not envelope.id or not (envelope.result or envelope.error):
            raise Invalid("it has no method")
        if self._calls is None:
            raise Unanswerable("an answer, and nothing was asked")
        try:
            self._calls.answered(envelope, key_of(bytes(envelope.id)))
        except (Invalid, Malformed):
            pass  # an answer to nothing

    def _protocol(self, name: str, params: "msgspec.Raw") -> None:
        """Notifications of the protocol itself. What is none of them, or has other parameters, is ignored."""
        try:
            if name == "$/cancelRequest":
                self.desk.cancel(key_of(bytes(msgspec.json.decode(params, type=_Id).id)))
            elif name == "$/credit":
                credit = msgspec.json.decode(params, type=_Credit)
                if credit.items > 0:
                    self.desk.credit(key_of(bytes(credit.token)), credit.items)
            elif name == "$/progress" and self._calls is not None:
                progress = msgspec.json.decode(params, type=_Progress)
                value = progress.value
                items: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
                self._calls.progressed(key_of(bytes(progress.token)), items)
        except (msgspec.DecodeError, RecursionError, Invalid, Malformed):
            pass

    # -- the end ------------------------------------------------------------------------------------------------------

    def _ended(self, error: OSError | None) -> None:
        """The end of input, or with an error the end of it all."""
        said = self._frames.failure is not None
        self._frames.end()
        if error is None and self._frames.failure is not None and not said:
            self.send(failure(b"null", {"code": codes.PARSE, "message": f"no message: {self._frames.failure}"}))
        if self._calls is not None:
            self._calls.gone(self._frames.failure)
        if error is not None:
            if self._ending is not None:
                self._ending.remove_done_callback(self._is_over)
                self._ending.cancel()
            self._begin_end(self.stop("caller"))
        elif self._ending is None:
            self._begin_end(self._leave())

    def _begin_end(self, ending: Any) -> None:
        self._ending = self._loop.create_task(ending, name="end of a connection")
        self._ending.add_done_callback(self._is_over)

    def _is_over(self, _: object) -> None:
        self._wire.close()
        self.desk.counts.close()
        if not self.over.done() and not self._loop.is_closed():
            self.over.set_result(None)

    async def _leave(self) -> None:
        await self.desk.drain()
        await self._wire.flushed()

    def drain(self) -> None:
        """Takes no more, answers what is in flight, ends the streams, and then itself."""
        self.desk.draining = True
        if self._ending is None:
            self._begin_end(self._leave())

    async def stop(self, why: str, *, asked: bool = False) -> "asyncio.CancelledError | None":
        """Cancels everything, waits for its cleanup, and sends what there is to say if that goes at once."""
        found = await self.desk.cancel_all(why, asked=asked)
        await asyncio.sleep(0)  # a turn for what was answered
        await asyncio.sleep(0)
        return found

    async def flush_soon(self) -> None:
        """Sends the rest, if that goes within a second."""
        await asyncio.wait([self._loop.create_task(self._wire.flushed())], timeout=1)

    def close(self) -> None:
        """At once; what is in flight has been stopped before."""
        self._is_over(None)


def _no_reply(_: list[bytes]) -> None:
    """To a notification there is no answer."""


def _refuses(_: Session, __: Envelope, ___: Reply) -> bool:
    return False
