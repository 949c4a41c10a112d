"""The calls that this end has made on one connection: each finds its answer by its id, and a late one finds nothing."""

import asyncio
import errno
import itertools
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from ...errors import MountainError, PeerError
from .._messages import codes
from .._messages.messages import Envelope, message
from .._wires.wire import Wire
from .meta import meta_here
from .session import Answered
from .work import Reply

__all__ = ["Calls"]

Params = Mapping[str, Any] | Sequence[Any]

#: Items of a stream that may be on their way, and such as are kept of a peer that knows no window.
_WINDOW, _KEPT = 1024, 1 << 20
#: Answers to a stream that had none.
_NO_ITEMS = (b"0", b"null", b"[]")
#: The beginning of an answer, up to its value.
_ANSWER = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,18})\s*,\s*"(?:result|error)"\s*:'
)


class _Call:
    __slots__ = ("future", "items", "name")

    def __init__(self, name: str, future: "asyncio.Future[msgspec.Raw]", items: "deque[Any] | None") -> None:
        self.name = name
        self.future = future
        self.items = items


class Calls(Answered):
    """On one connection, whose session sends by `send`."""

    def __init__(self, wire: Wire, what: str, *, says_meta: bool) -> None:
        self._wire = wire
        self._what = what
        #: Whether the peer reads `$meta`, as a Router does.
        self._says_meta = says_meta
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._calls: dict[Any, _Call] = {}
        #: Pulls of streams that wait for an item, by their calls.
        self._pulls: dict[_Call, asyncio.Future[None]] = {}
        self.is_gone = False
        self._went = "has gone"
        self.send: Reply

    # -- what goes ----------------------------------------------------------------------------------------------------

    async def call(self, name: str, params: Params) -> Any:
        """Raises what the answer says, or ConnectionError. Cancelled, it tells the peer."""
        number = await self._begin(name, params, None)
        call = self._calls[number]
        written = await self._answer(number, call)
        try:
            return msgspec.json.decode(written)
        except (msgspec.DecodeError, RecursionError) as error:
            raise PeerError(f"answered with what cannot be read: {error}", effect=name, code=codes.PARSE) from None

    async def stream(self, name: str, params: Params) -> AsyncIterator[Any]:
        """The items of a streaming command. Left early, it tells the peer."""
        items: deque[Any] = deque()
        number = await self._begin(name, params, items, {"window": _WINDOW})
        call = self._calls[number]
        call.future.add_done_callback(lambda _: self._wake(call))
        taken, came = 0, False
        try:
            while True:
                while items:
                    came = True
                    taken += 1
                    if taken >= _WINDOW // 2 and not call.future.done():
                        self.send([message("$/credit", {"token": number, "items": taken})])
                        taken = 0
                    yield items.popleft()
                if call.future.done():
                    if bytes(call.future.result()) not in _NO_ITEMS and not came:
                        raise PeerError(f"{name!r} has run, and is no stream: write peer.call(...)", effect=name)
                    return
                pull = self._pulls[call] = self._loop.create_future()
                await pull
        finally:
            self._pulls.pop(call, None)
            self._forget(number, call)

    async def notify(self, name: str, params: Params) -> None:
        """Returns when there is room for more."""
        self._check(name)
        self.send([message(name, params, **self._members(None))])
        await self._room()

    async def _begin(
        self, name: str, params: Params, items: "deque[Any] | None", meta: "dict[str, Any] | None" = None
    ) -> int:
        self._check(name)
        await self._room()
        self._check(name)
        number = next(self._ids)
        request = message(name, params, id=number, **self._members(meta))
        self._calls[number] = _Call(name, self._loop.create_future(), items)
        self.send([request])
        return number

    def _members(self, meta: "dict[str, Any] | None") -> dict[str, Any]:
        """Beside the name and the parameters."""
        if self._says_meta:
            meta = (meta or {}) | meta_here()
        return {"meta": meta} if meta else {}

    def _check(self, name: str) -> None:
        if self.is_gone:
            said = f"{self._what} {self._went}: {name!r} was not sent. Connect again to go on"
            raise BrokenPipeError(errno.EPIPE, said)

    async def _room(self) -> None:
        while (drained := self._wire.drained()) is not None:
            await drained

    async def _answer(self, number: int, call: _Call) -> "msgspec.Raw":
        try:
            return await call.future
        finally:
            self._forget(number, call)

    def _forget(self, number: int, call: _Call) -> None:
        """Drops its answer when it comes. Sends the peer a cancel, if there is none yet."""
        if self._calls.pop(number, None) is not None and not self.is_gone and not self._loop.is_closed():
            self.send([message("$/cancelRequest", {"id": number})])
        if call.future.done() and not call.future.cancelled():
            call.future.exception()  # marks it as seen: a caller that was cancelled does not read it

    # -- what comes ---------------------------------------------------------------------------------------------------

    def answered(self, envelope: Envelope, key: Any, /) -> None:
        fails = envelope.error and bytes(envelope.error) != b"null"
        if key is None and fails:  # of no call, but perhaps why the peer goes
            self._went = f"has gone, and said: {_error(envelope.error, '')}"
        call = self._calls.pop(key, None)
        if call is None or call.future.done():
            return
        if fails:
            call.future.set_exception(_error(envelope.error, call.name))
        else:
            call.future.set_result(envelope.result)

    def unreadable(self, body: "bytes | bytearray", /) -> bool:
        """Whether a message that is no JSON began as the answer to a call, which then fails.

        A text with half a pair of UTF-16 is no JSON, and JavaScript writes it.
        """
        begun = _ANSWER.match(body)
        call = None if begun is None else self._calls.pop(int(begun[1]), None)
        if call is None:
            return False
        if not call.future.done():
            call.future.set_exception(PeerError("answered with what is no JSON", effect=call.name, code=codes.PARSE))
        return True

    def progressed(self, token: Any, items: list[Any], /) -> None:
        call = self._calls.get(token)
        if call is None or call.items is None or call.future.done():
            return
        call.items.extend(items)
        if len(call.items) > _KEPT:
            said = f"{self._what} sends faster than its items are read, and knows no window"
            call.future.set_exception(PeerError(said, effect=call.name))
        self._wake(call)

    def _wake(self, call: _Call) -> None:
        pull = self._pulls.pop(call, None)
        if pull is not None and not pull.done():
            pull.set_result(None)

    def left(self) -> None:
        """This side ends the connection: calls in flight fail at once."""
        if not self.is_gone:
            self._went = "was left, by the end of its block"
        self.gone(None)

    def gone(self, why: Exception | None, /) -> None:
        """Calls in flight fail at once; `why` is what the peer sent that is no message."""
        if why is not None and not self.is_gone:
            self._went = f"sent {why}, and the connection is over"
        self.is_gone = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.future.done():
                said = f"{self._what} {self._went}; {call.name!r} may have run: repeat only what may run twice"
                call.future.set_exception(ConnectionResetError(errno.ECONNRESET, said))
                call.future.exception()  # its caller may have been cancelled in this very turn


def _error(written: "msgspec.Raw", name: str) -> MountainError:
    try:
        return codes.raised(msgspec.json.decode(written), name)
    except (msgspec.DecodeError, RecursionError):
        return PeerError("answered with an error that cannot be read", effect=name)
