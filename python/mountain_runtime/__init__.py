"""Typed effects for asyncio: describe work as values, and a Rust core decides how it runs.

effects      effect, blocking, Effect, Ok, Err
composing    gather, race, amap, deadline, priority (Priority)
policies     Timeout, Retry (Backoff, constant, exponential, RetryBudget), Fallback, Pipeline, Policy
with state   ConcurrencyLimit, RateLimit, CircuitBreaker, Cache
runtime      run, Runtime, Handle, Shutdown, ShutdownReport, Step, Dump, Statistics, EffectStatistics, LimitStatistics
services     Key, need, sidecar, Health, ServiceHealth
modules      errors: what can go wrong; fs: files; process: programs
"""

from . import _native as _native  # first: an interpreter that cannot have it is told so before anything else is loaded

# isort: split
from . import _bind as _bind
from . import errors, fs, process
from ._amap import amap
from ._compose import gather, race
from ._deadline import deadline
from ._dump import Dump
from ._effect import blocking, effect
from ._health import Health, ServiceHealth
from ._native import Effect, Handle
from ._need import Key, need
from ._outcome import Err, Ok
from ._priority import Priority, priority
from ._run import run
from ._runtime import Runtime
from ._shutdown import Shutdown, ShutdownReport, Step
from ._sidecar import sidecar
from ._statistics import EffectStatistics, Statistics
from .policy import (
    Backoff,
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    LimitStatistics,
    Pipeline,
    Policy,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    constant,
    exponential,
)

__all__ = [
    "effect",
    "blocking",
    "Effect",
    "Ok",
    "Err",
    "gather",
    "race",
    "amap",
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
    "Fallback",
    "ConcurrencyLimit",
    "RateLimit",
    "CircuitBreaker",
    "Cache",
    "Pipeline",
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
    "process",
]
