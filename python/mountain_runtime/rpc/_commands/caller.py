"""The caller of the command that runs now."""

from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Caller", "caller", "caller_var"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of the command that runs now: one connection, from its beginning to its end."""

    #: A number of its own, for as long as the program runs.
    id: str
    #: Where it is: `stdio:`, `unix:` with its process and user, `tcp:` with host and port.
    address: str


#: Of the code that runs now.
caller_var: ContextVar[Caller | None] = ContextVar("mountain_caller", default=None)


def caller(*_arguments: object, **_named: object) -> Caller | None:
    """The sender of the command that runs now; None outside of commands, and in those of `Router.call`.

    It is also a key function, of calls with any arguments: `RateLimit(100, per=1, key=rpc.caller)` is a limit for each
    caller.
    """
    return caller_var.get()
