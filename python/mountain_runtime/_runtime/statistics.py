"""Snapshots of the process's counters."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from .. import _native
from ..policy.concurrency import LimitStatistics, by_name

__all__ = ["EffectStatistics", "Statistics", "snapshot"]


@dataclass(frozen=True, slots=True)
class EffectStatistics:
    """The outcomes of the calls of one effect, since the process began."""

    started: int
    succeeded: int
    failed: int
    timed_out: int
    cancelled: int
    retried: int
    rejected: int
    #: Ended with a value of a Fallback's. They are counted as succeeded, too.
    degraded: int
    #: Seconds that a call took, half of them at most,
    p50: float
    #: and 99 of 100 at most. Both are NaN while none has ended.
    p99: float
    #: Those that are degraded, by the name of what stood in.
    fallbacks: Mapping[str, int]
    #: Of streams: those that are open,
    open: int = 0
    #: the items that came out, to within 64 of each that is open,
    items: int = 0
    #: and the seconds to the first item, half of them at most. NaN while none has come.
    first_item: float = nan


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of the process."""

    effects: Mapping[str, EffectStatistics]
    #: The limits that have a name.
    limits: Mapping[str, LimitStatistics]
    running: int
    waiting: int
    #: Threads whose callers were released, and which still run.
    abandoned_threads: int
    #: Spans that no exporter took, since the process began: they were too many, refused, or late.
    spans_dropped: int


def snapshot() -> Statistics:
    """The process's counters until now."""
    fallbacks = _native.fallback_statistics()
    streams = _native.stream_statistics()
    none = (0, 0, nan)
    rows = _native.effect_statistics().items()
    effects = {name: EffectStatistics(*row, fallbacks.get(name, {}), *streams.get(name, none)) for name, row in rows}
    gauges = _native.statistics()
    return Statistics(
        effects,
        by_name(),
        gauges["running"],
        gauges["waiting"],
        gauges["abandoned_threads"],
        gauges["spans_dropped"],
    )
