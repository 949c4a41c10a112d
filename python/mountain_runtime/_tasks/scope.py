"""Which runtime the current code runs in, and the phases of a runtime: both are the native module's."""

from .._native import PHASES
from .._native import current_scope as current

__all__ = ["CANCELLING", "CLOSED", "DRAINING", "NEW", "RUNNING", "current", "draining"]

NEW, RUNNING, DRAINING, CANCELLING, CLOSED = PHASES


def draining() -> bool:
    """Whether the runtime of the current code has stopped to take new work."""
    scope = current()
    return scope is not None and scope._phase >= DRAINING
