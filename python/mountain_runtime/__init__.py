"""Typed effects for asyncio: describe work as values, and a Rust core decides how it runs.

effects      effect, blocking, batch, Effect, Ok, Err
streams      stream, Stream, Idle
composing    gather, race, amap (Work), chunked, deadline, priority (Priority)
policies     Timeout, Retry (Backoff, constant, exponential, RetryBudget), Fallback, Pipeline, Policy
with state   ConcurrencyLimit, RateLimit, CircuitBreaker, Cache, Hedge
elsewhere    On (pools)
runtime      run, Runtime, Handle, Shutdown, ShutdownReport, Step, Dump, Statistics, EffectStatistics, LimitStatistics
services     Key, need, sidecar, Health, ServiceHealth
modules      errors: what can go wrong; fs: files; http: requests; pools: workers; process: programs;
             rpc: commands that come in; search: lines
"""

import typing as _typing

from . import _native as _native  # first: an interpreter that cannot have it is told so before anything else is loaded

# isort: split
from . import _bind as _bind
from . import errors, fs, process
from ._effect.amap import amap
from ._effect.batch import batch
from ._effect.chunked import chunked
from ._effect.compose import gather, race
from ._effect.deadline import deadline
from ._effect.effect import blocking, effect
from ._effect.need import Key, need
from ._effect.outcome import Err, Ok
from ._effect.stream import stream
from ._effect.work import Work
from ._native import Effect, Handle, Stream
from ._runtime.run import run
from ._runtime.runtime import Runtime
from ._runtime.statistics import EffectStatistics, Statistics
from ._shutdown.report import ShutdownReport, Step
from ._shutdown.settings import Shutdown
from ._tasks.dump import Dump
from .policy import (
    Backoff,
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Hedge,
    Idle,
    LimitStatistics,
    On,
    Pipeline,
    Policy,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    constant,
    exponential,
)
from .policy._priority import Priority, priority
from .process._sidecar import sidecar
from .telemetry._health import Health, ServiceHealth

if _typing.TYPE_CHECKING:
    from . import http, pools, rpc, search
else:
    #: Imported when they are first named: a program that has no use for them does not wait for them.
    _LATER = frozenset(("http", "pools", "rpc", "search"))

    def __getattr__(name: str) -> object:
        if name in _LATER:
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})


__all__ = [
    "effect",
    "blocking",
    "batch",
    "Effect",
    "stream",
    "Stream",
    "Ok",
    "Err",
    "gather",
    "race",
    "amap",
    "Work",
    "chunked",
    "deadline",
    "priority",
    "Priority",
    "Policy",
    "Timeout",
    "Retry",
    "Backoff",
    "constant",
    "exponential",
    "RetryBudget",
    "Idle",
    "Fallback",
    "ConcurrencyLimit",
    "RateLimit",
    "CircuitBreaker",
    "Cache",
    "Hedge",
    "Pipeline",
    "On",
    "run",
    "Runtime",
    "Handle",
    "Shutdown",
    "ShutdownReport",
    "Step",
    "Dump",
    "sidecar",
    "Statistics",
    "EffectStatistics",
    "LimitStatistics",
    "Key",
    "need",
    "Health",
    "ServiceHealth",
    "errors",
    "fs",
    "http",
    "pools",
    "process",
    "rpc",
    "search",
]
