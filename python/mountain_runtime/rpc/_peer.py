"""Peer: the other end of a connection, whose calls are effects; and `connect`, the block that it belongs to."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, ClassVar, cast, final

from .._effect.effect import effect
from .._effect.habits import Habits
from .._effect.misused import AsyncBlockOnly
from .._effect.stream import own_stream
from .._native import Effect, Stream, deadline_var, own_name
from .._tasks.outlast import shielded
from ..errors import ConfigError
from ..policy._given import shown
from ..process._process import Process
from ._commands.caller import Caller
from ._messages.framing import Framing, check_framing
from ._messages.messages import check_call
from ._router import Router
from ._sessions.calls import Calls
from ._sessions.session import Session
from ._wires.address import Address, parse
from ._wires.connecting import connected
from ._wires.wire import Wire

__all__ = ["Peer", "connect"]

#: Bytes of a message that a peer sends, at most.
_MOST = 64 << 20

own_name("rpc.call")


@final
class Peer(Habits):
    """The other end: of a router, of a language server, of any program that speaks JSON-RPC 2.0."""

    _ways: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("request", "send_request", "send_request_async"), "write `await call(name, params)`"),
        **dict.fromkeys(("send", "send_notification"), "write `await notify(name, params)`"),
        **dict.fromkeys(("close", "stop", "aclose"), "leave the block of `rpc.connect`"),
    }

    def __init__(self, end: "_End") -> None:
        self._end = end

    def __repr__(self) -> str:
        return f"<Peer {self._end.what}>"

    def call(self, name: str, params: Mapping[str, Any] | Sequence[Any] = (), /) -> Effect[Any]:
        """The result that it answers with, as JSON. Cancelled or timed out, it is told, and its late answer dropped.

        Raises errors.PeerError for an error that it answers with, and of another router's its own: Rejected, TimedOut,
        ShuttingDown. ConnectionResetError says that it has gone, and that the call may have run; BrokenPipeError, that
        it was not sent. Behind a sidecar that is restarted the next call goes to the next run. TypeError for parameters
        that are neither a list nor a mapping.
        """
        check_call(name, params)
        return _call(self._end, name, params)

    def stream(self, name: str, params: Mapping[str, Any] | Sequence[Any] = (), /) -> Stream[Any]:
        """The items that it sends by `$/progress` until it answers. It is told how many are taken, and sends no more.

        Left early, it is told, too. Raises what `call` raises.
        """
        check_call(name, params)
        return _stream(self._end, name, params)

    async def notify(self, name: str, params: Mapping[str, Any] | Sequence[Any] = (), /) -> None:
        """Tells it something; there is no answer. Raises BrokenPipeError when it has gone."""
        check_call(name, params)
        calls = await self._end.calls()
        await calls.notify(name, params)


async def _answer(end: "_End", name: str, params: Mapping[str, Any] | Sequence[Any]) -> Any:
    calls = await end.calls()
    return await calls.call(name, params)


_call = effect(name="rpc.call")(_answer)


async def _items(end: "_End", name: str, params: Mapping[str, Any] | Sequence[Any]) -> AsyncIterator[Any]:
    calls = await end.calls()
    found = calls.stream(name, params)
    try:
        async for item in found:
            yield item
    finally:
        await cast("Any", found).aclose()


_stream = own_stream(_items, "rpc.stream")


class _End:
    """The way to a peer: one connection, or behind a sidecar that is restarted one after another."""

    def __init__(self, to: "Address | Process", framing: Framing, router: Router | None, *, meta: bool) -> None:
        self._to = to
        self._meta = meta
        self._framing: Framing = framing
        self._router = router
        self.what = repr(to) if isinstance(to, Process) else f"{to.kind}:{to.path or f'{to.host}:{to.port}'}"
        self._session: Session | None = None
        self._calls: Calls | None = None
        self._lock = asyncio.Lock()
        self._context: Context = copy_context()
        self._context.run(deadline_var.set, None)
        self._closed = False
        #: Done when a command of the router has raised an exit, which is `exit` then.
        self.exits: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def exit(self) -> BaseException | None:
        return None if self._session is None else self._session.desk.exit

    def __repr__(self) -> str:
        return f"<Peer {self.what}>"

    async def calls(self) -> Calls:
        """Those of the connection that there is."""
        calls = self._calls
        if calls is not None and not (calls.is_gone and self._again()):
            return calls
        async with self._lock:
            if self._calls is None or (self._calls.is_gone and self._again()):
                await self._open()
            assert self._calls is not None
            return self._calls

    def _again(self) -> bool:
        return isinstance(self._to, Process) and self._to._restarts and not self._closed

    async def _open(self) -> None:
        wire: Wire = await connected(self._to)
        calls = Calls(wire, self.what, says_meta=self._meta)
        caller = Caller("peer", self.what)
        table = None if self._router is None else self._router._table
        session = Session(table, wire, self._framing, _MOST, caller, self._context, calls)
        calls.send = session.send
        session.desk.exits = self.exits
        session.start()
        self._session, self._calls = session, calls
        if isinstance(self._to, Address) and self._to.token is not None:
            await calls.call("rpc.authenticate", {"token": self._to.token})

    async def close(self, *, asked: bool) -> None:
        """Requests of the peer are cancelled, their cleanup awaited; calls in flight fail."""
        self._closed = True
        session, calls = self._session, self._calls
        if session is None or calls is None:
            return
        was_gone = calls.is_gone
        calls.left()
        await session.stop("the connection was closed", asked=asked)
        if not was_gone:
            await session.flush_soon()
        session.close()


class _Block(AsyncBlockOnly, AbstractAsyncContextManager[Peer]):
    _block = "rpc.connect(...) as peer"

    def __init__(self, make: "Callable[[], _End]") -> None:
        self._make = make
        self._end: _End | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancels = False

    async def __aenter__(self) -> Peer:
        if self._end is not None:
            raise RuntimeError("a connect() is entered once: make another")
        self._end = end = self._make()
        try:
            await end.calls()
        except BaseException:
            with shielded(sys.exception()):
                await end.close(asked=True)
            raise
        self._task = asyncio.current_task()
        end.exits.add_done_callback(self._cancel)
        return Peer(end)

    def _cancel(self, _: object) -> None:
        """A command has raised an exit: the block is cancelled, and raises it at its end, as a TaskGroup does."""
        if self._task is not None:
            self._cancels = self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        assert self._end is not None
        task, self._task = self._task, None
        with shielded(error):
            await self._end.close(asked=isinstance(error, asyncio.CancelledError))
        if self._cancels and task is not None:
            task.uncancel()
        if (exit := self._end.exit) is not None:  # noqa: A001
            raise exit


def connect(
    to: str | Process, /, *, framing: Framing = "lsp", router: Router | None = None, meta: bool = False
) -> AbstractAsyncContextManager[Peer]:
    """Connects to another program: `async with rpc.connect("unix:/run/host.sock") as peer:`.

    `to` is an address, or a process that is talked to by its stdin and stdout, such as a sidecar; nothing else may read
    and write there. What the peer asks is answered by `router`. With `meta`, for a peer that is an rpc.Router, each
    call tells it the priority, the seconds that remain, and the trace.

    Leaving the block fails the calls in flight, cancels what the peer has asked, and waits for its cleanup; a process
    goes on.

    Raises OSError from the block when there is nothing at the address, errors.PeerError for a token that is not the
    host's, ConfigError for an address that is none.
    """
    check_framing(framing, "connect")
    if router is not None and not isinstance(router, Router):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"connect(router={shown(router)}): must be an rpc.Router")
    if isinstance(to, Process):
        return _Block(lambda: _End(to, framing, router, meta=meta))
    address = parse(to, "connect")
    if address.kind == "stdio":
        raise ConfigError("connect('stdio:'): is this program's own: give the process, or an address")
    return _Block(lambda: _End(address, framing, router, meta=meta))
