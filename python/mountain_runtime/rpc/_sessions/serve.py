"""`serve`: one router, all its callers, from the first to the end.

1. Stdin and stdout are one caller; at a path or a port there are many, each with its session.
2. It goes on until its input ends, its runtime drains, or it is cancelled.
3. Draining: no caller is accepted, no request taken; those in flight are answered, then the streams end.
4. Cancelled: everything is cancelled, its cleanup awaited, and what can be said at once is said.
"""

import asyncio
import contextlib
import hmac
import itertools
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import msgspec

from ..._native import deadline_var
from ..._tasks import scope as _scope
from ..._tasks.flag import Flag
from ..._tasks.outlast import shielded
from ...policy._numbers import count
from .._commands.caller import Caller
from .._commands.table import Table
from .._messages import codes
from .._messages.framing import Framing, check_framing
from .._messages.messages import Envelope, answer, failure
from .._wires.address import Address, parse
from .._wires.listening import Listener
from .._wires.stdio import open_stdio
from .._wires.wire import FdWire
from .session import Session
from .work import Reply

__all__ = ["AUTHENTICATE", "serve"]

#: The request that a caller with a token begins with.
AUTHENTICATE = "rpc.authenticate"
#: Seconds in which a caller must have shown its token.
_PATIENCE = 10.0
_numbers = itertools.count(1)


async def serve(table: Table, address: str, framing: Framing, max_message: int, max_callers: int) -> None:
    """Serves as `Router.serve` says."""
    where = parse(address, "serve")
    check_framing(framing, "serve")
    count(max_message, "serve", "max_message")
    count(max_callers, "serve", "max_callers")
    await _Server(table, where, framing, max_message, max_callers).run()


class _Server:
    def __init__(self, table: Table, address: Address, framing: Framing, max_message: int, max_callers: int) -> None:
        self._table = table
        self._address = address
        self._framing: Framing = framing
        self._max_message, self._max_callers = max_message, max_callers
        self._sessions: set[Session] = set()
        self._loop = asyncio.get_running_loop()
        #: Of commands: as it is here, without a limit on the time of `serve` itself.
        self._context: Context = copy_context()
        self._context.run(deadline_var.set, None)
        #: The input has ended, or a command has raised an exit.
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Steps 1 to 4."""
        listener: Listener | None = None
        drains: Flag | None = getattr(_scope.current(), "_drains", None)
        if drains is not None:
            drains.add(self._over)
        try:
            if self._address.kind == "stdio":
                session = self._session(open_stdio(), "stdio:")
                session.over.add_done_callback(self._end)
            else:
                listener = Listener(self._address, self._accepted)
            try:
                await self._over
                if listener is not None:
                    listener.close()
                    listener = None
                if self._exit() is None:
                    await self._drain()
            except GeneratorExit:  # its loop was closed under it, and nothing can be waited for
                raise
            except BaseException as error:
                with shielded(error):
                    await self._stop(error)
                raise
            if self._exit() is not None:
                await self._stop(None)
        finally:
            if drains is not None:
                drains.discard(self._over)
            if listener is not None:
                listener.close()
            for session in list(self._sessions):
                session.close()
        if (exit := self._exit()) is not None:  # noqa: A001
            raise exit

    def _end(self, _: object = None) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _exit(self) -> BaseException | None:
        return next((exit for each in self._sessions if (exit := each.desk.exit) is not None), None)  # noqa: A001

    # -- step 1 -------------------------------------------------------------------------------------------------------

    def _accepted(self, wire: FdWire, where: str) -> None:
        if len(self._sessions) >= self._max_callers:
            refused = self._new(wire, where, None)
            said = f"there are {self._max_callers} callers already"
            refused.send(failure(b"null", {"code": codes.REJECTED, "message": said, "data": {"type": "Rejected"}}))
            refused.drain()
            return
        session = self._session(wire, where)
        session.over.add_done_callback(lambda _: None if session.desk.exit else self._sessions.discard(session))

    def _session(self, wire: FdWire, where: str) -> Session:
        guard = None if self._address.token is None else self._guard(self._address.token)
        session = self._new(wire, where, guard)
        session.desk.exits = self._over
        self._sessions.add(session)
        if guard is not None:
            self._loop.call_later(_PATIENCE, _ends_unknown, session)
        session.start()
        return session

    def _new(self, wire: FdWire, where: str, guard: Any) -> Session:
        caller = Caller(str(next(_numbers)), where)
        return Session(self._table, wire, self._framing, self._max_message, caller, self._context, allows=guard)

    def _guard(self, token: str) -> "Callable[[Session, Envelope, Reply], bool]":
        def shows(session: Session, envelope: Envelope, reply: Reply) -> bool:
            written, shown = bytes(envelope.id) or b"null", ""
            try:
                msgspec.json.decode(written, type=int | str | None)
            except (msgspec.DecodeError, RecursionError):
                written = b"null"
            with contextlib.suppress(msgspec.DecodeError, RecursionError):
                if envelope.method == AUTHENTICATE:
                    shown = msgspec.json.decode(envelope.params, type=_Token).token
            if not hmac.compare_digest(shown.encode(errors="replace"), token.encode(errors="replace")):
                said = (
                    "the token is another than this host's" if shown else f"call {AUTHENTICATE} first, with the token"
                )
                said += "; nothing has run. Connect to tcp:TOKEN@HOST:PORT, with the token of its serve"
                reply(failure(written, {"code": codes.INVALID_REQUEST, "message": said}))
                return False
            session.allows = None
            reply(answer(written, b"true"))
            return True

        return shows

    # -- steps 3 and 4 ------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        for session in list(self._sessions):
            session.drain()
        while over := [each.over for each in self._sessions if not each.over.done()]:
            await asyncio.wait(over)

    async def _stop(self, error: BaseException | None) -> None:
        asked = isinstance(error, asyncio.CancelledError)
        for session in list(self._sessions):
            await session.stop("what was in flight was cancelled", asked=asked)


class _Token(msgspec.Struct):
    token: str


def _ends_unknown(session: Session) -> None:
    if session.allows is not None and not session.over.done():
        session.drain()
