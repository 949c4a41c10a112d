"""Commands over JSON-RPC 2.0: a router whose commands are effects, and the other end of such programs.

A command that comes in runs under the router's policies and its caller's limits, is cancelled with its caller, and is
answered or told why not, also at shutdown. A call that goes out is an effect like any other: a Timeout tells the peer,
and a late answer reaches no other call.
"""

import typing as _typing

from ._needed import missing as _missing
from ._needed import there as _there

if _there or _typing.TYPE_CHECKING:
    from ._commands.caller import Caller, caller
    from ._peer import Peer, connect
    from ._record.reading import Outcome, Recorded
    from ._record.record import Record
    from ._replay import Difference, replay
    from ._router import Router
else:
    # `from mountain_runtime import *` works without it.
    def __getattr__(name: str) -> object:
        if name in __all__:
            raise _missing(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Caller",
    "Difference",
    "Outcome",
    "Peer",
    "Record",
    "Recorded",
    "Router",
    "caller",
    "connect",
    "replay",
]
