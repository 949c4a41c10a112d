"""Policies: values that say how a call runs, written as one list, the outermost first."""

from ._backoff import Backoff, constant, exponential
from ._base import Policy
from ._budget import RetryBudget
from .breaker import CircuitBreaker
from .cache import Cache
from .concurrency import ConcurrencyLimit, LimitStatistics
from .fallback import Fallback
from .hedge import Hedge
from .idle import Idle
from .on import On
from .pipeline import Pipeline
from .rate import RateLimit
from .retry import Retry
from .timeout import Timeout

__all__ = [
    "Backoff",
    "Cache",
    "CircuitBreaker",
    "ConcurrencyLimit",
    "Fallback",
    "Hedge",
    "Idle",
    "LimitStatistics",
    "On",
    "Pipeline",
    "Policy",
    "RateLimit",
    "Retry",
    "RetryBudget",
    "Timeout",
    "constant",
    "exponential",
]
