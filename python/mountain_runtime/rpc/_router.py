"""Router: commands by name, each an effect or a stream, called from outside or in this process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, ParamSpec, TypeVar, cast, final

from .._effect.effect import effect
from .._effect.habits import Habits
from .._native import Effect, Stream, own_name
from ..errors import ConfigError
from ..policy._arguments import check_name as check_router_name
from ..policy._base import Policy, flatten
from ..policy._given import shown
from ._commands.command import check_name, make
from ._commands.here import call_here
from ._commands.table import Table
from ._messages.framing import Framing
from ._record.record import Record
from ._sessions.serve import serve

__all__ = ["Router"]

P = ParamSpec("P")
T = TypeVar("T")


@final
class Router(Habits):
    """Commands by name, for callers who speak JSON-RPC 2.0. Each is an effect, or a stream.

    `policies` stand around every command, outermost first: what has state, such as a RateLimit, is shared by all of
    them. With `tracebacks`, an answer to a command that failed has the traceback too; without, its type and message.
    With `record`, requests and their outcomes are written there.
    """

    _ways: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("method", "register", "add_method", "add", "feature"), "write @router.command(name)"),
        **dict.fromkeys(("run", "start", "start_io", "start_tcp", "serve_forever"), "write `await router.serve(...)`"),
        **dict.fromkeys(("dispatch", "handle", "execute"), "write `await router.call(name, params)`"),
    }

    def __init__(
        self,
        *policies: Policy[Any],
        name: str | None = None,
        tracebacks: bool = False,
        record: Record | None = None,
    ) -> None:
        check_router_name(name, "Router")
        flatten(policies, name or "a router", "Router")
        self.name = name
        self._policies = policies
        if record is not None and not isinstance(cast("object", record), Record):
            raise ConfigError(f"Router(record={shown(record)}): write record=rpc.Record(path)")
        self._table = Table(name, record, tracebacks=bool(tracebacks))

    def __repr__(self) -> str:
        return f"<Router {self.name or ''}: {len(self._table.commands)} commands>"

    def command(self, name: str, /) -> Callable[[Callable[P, Effect[T]]], Callable[P, Effect[T]]]:
        """Makes a function of effects the command of that name; the function stays as it is.

        Its parameters are read by its annotations, by name or by position; those with `need(...)` are never the
        caller's. ConfigError for a name that is taken or the protocol's own, or parameters that JSON cannot give.
        """
        decorate: Callable[[Any], Any] = self._decorator(name, streams=False)
        return decorate

    def streaming(self, name: str, /) -> Callable[[Callable[P, Stream[T]]], Callable[P, Stream[T]]]:
        """The same of a function of streams: its items go by `$/progress`, then comes the answer, their number."""
        decorate: Callable[[Any], Any] = self._decorator(name, streams=True)
        return decorate

    def _decorator(self, name: str, *, streams: bool) -> Callable[[Any], Any]:
        check_name(name)

        def decorate(function: Any) -> Any:
            made = make(name, function, self._policies, streams=streams)
            if name in self._table.commands:
                raise ConfigError(f"command({name!r}): the router has a command of that name already")
            self._table.add(made)
            return function

        return decorate

    def call(self, name: str, params: Mapping[str, Any] | Sequence[Any] = (), /) -> Effect[Any]:
        """Runs a command in this process, as a request for it would: its value is JSON, and of a stream all items.

        The command's own errors pass unchanged; one that there is not, or that has other parameters, is PeerError.
        """
        return _called(self._table, name, params)

    def openrpc(self) -> dict[str, Any]:
        """Its commands by OpenRPC 1.3, with the schemas of what they take and give. Callers ask for `rpc.discover`."""
        return self._table.openrpc()

    async def serve(
        self,
        address: str = "stdio:",
        /,
        *,
        framing: Framing = "lsp",
        max_message: int = 64 << 20,
        max_callers: int = 1000,
    ) -> None:
        """Answers callers until the end of input, or the shutdown of the runtime: `stdio:`, `unix:PATH`,
        `tcp:HOST:PORT`.

        Others than this machine's reach `tcp:TOKEN@HOST:PORT` only, by that token. On `stdio:`, stdout is the
        protocol's: what prints goes to stderr. A message is `max_message` bytes at most.

        At the shutdown no new request is taken, those in flight are answered, then the streams end. A cancel cancels
        them, and waits for their cleanup. Raises ConfigError for an address that cannot be served, OSError for one that
        another serves.
        """
        await serve(self._table, address, framing, max_message, max_callers)


own_name("rpc.call_here")
_called = effect(name="rpc.call_here")(call_here)
