"""The settings of a pool of processes."""

from collections.abc import Callable
from dataclasses import dataclass

from .._runtime.runtime import Runtime

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    workers: int
    per_worker: int
    max_waiting: int
    max_calls: int | None
    max_memory: int | None
    runtime: Callable[[], Runtime] | None
