"""Which runtime the current code runs in: by context variable, else by the running loop."""

import asyncio
from weakref import WeakKeyDictionary

from .._native import Scope, scope_var

__all__ = ["DRAINING", "RUNNING", "by_loop", "current", "draining"]

#: The phases of a Scope, in their order.
NEW, RUNNING, DRAINING, CANCELLING, CLOSED = range(5)

#: A variable set in a web framework's lifespan does not reach its handlers: they find their runtime by the loop.
by_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, Scope]" = WeakKeyDictionary()


def current() -> Scope | None:
    """The runtime of the current code, if there is one."""
    found = scope_var.get(None)
    if found is None and by_loop:
        try:
            found = by_loop.get(asyncio.get_running_loop())
        except RuntimeError:  # no loop runs here
            return None
    return found


def draining() -> bool:
    """Whether the runtime of the current code takes no new work any more."""
    scope = current()
    return scope is not None and scope._phase >= DRAINING
