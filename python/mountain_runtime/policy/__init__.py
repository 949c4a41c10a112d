"""Policies: values that say how a call runs, written as one list, the outermost first."""

from ._backoff import Backoff, constant, exponential
from ._base import Policy
from .concurrency import ConcurrencyLimit, LimitStatistics
from .pipeline import Pipeline
from .retry import Retry
from .timeout import Timeout

__all__ = [
    "Backoff",
    "ConcurrencyLimit",
    "LimitStatistics",
    "Pipeline",
    "Policy",
    "Retry",
    "Timeout",
    "constant",
    "exponential",
]
