"""Registers the Python classes and functions that the native module raises and calls, at import."""

import os
import warnings

from . import _native, errors
from ._effect import compose, flights, misused, shown, stream_ends, threads
from ._tasks import abandoned
from ._tasks.cuts import is_cut
from ._tasks.outlast import shield_if_asked
from .policy import _forks
from .policy._arguments import bound, unhashable, whole
from .policy._base import under
from .policy._calls import called, code_of, refuse
from .telemetry import _failures, _logs, _otel

__all__: list[str] = []

_native.bind(
    timed_out=errors.TimedOut,
    internal_error=errors.InternalError,
    shutting_down=errors.ShuttingDown,
    rejected=errors.Rejected,
    queue_full=errors.QueueFull,
    rate_limited=errors.RateLimited,
    circuit_open=errors.CircuitOpen,
    reentered=errors.Reentered,
    not_accepted=errors.NotAccepted,
    map=compose.map_,
    then=compose.then,
    attempt=compose.attempt,
    under=under,
    called=called,
    code_of=code_of,
    shown=shown.shown,
    refuse=refuse,
    not_an_effect=misused.not_an_effect,
    bound=bound,
    whole=whole,
    unhashable=unhashable,
    fly=flights.begin,
    another_pull=stream_ends.another,
    end_stream=stream_ends.begin,
    stream_ended=stream_ends.ended,
    stream_rests=stream_ends.rests,
    tell_waiter=stream_ends.tell,
    look_for_tracing=_otel.look,
    outgoing=_otel.outgoing,
    slow=_logs.slow,
    log=_logs.native,
    hears_policy=_logs.hears_policy,
    failed=_failures.note,
    disown_abandoned=abandoned.disown,
    is_cut=is_cut,
    shield=shield_if_asked,
)


def _after_fork() -> None:
    _native.after_fork()
    threads.after_fork()
    _forks.after_fork()
    _otel.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_native.before_fork, after_in_parent=_native.after_fork_in_parent, after_in_child=_after_fork
    )

if _native.DEBUG:
    warnings.warn("mountain_runtime is a debug build: it is many times slower", RuntimeWarning, stacklevel=2)
