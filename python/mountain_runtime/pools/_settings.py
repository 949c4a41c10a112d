"""The settings of pools, checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from .._runtime.runtime import Runtime
from ..errors import ConfigError

__all__ = ["STOP", "RaySettings", "Settings", "check_runtime"]

#: Seconds that the end of a pool's block may take, and so the shutdown of the runtime of each of its workers.
STOP = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    workers: int
    per_worker: int
    max_calls: int | None
    max_memory: int | None
    runtime: Callable[[], Runtime] | None


@dataclass(frozen=True, slots=True)
class RaySettings:
    name: str
    address: str | None
    least: int
    most: int
    per_worker: int
    resources: dict[str, float]
    runtime: Callable[[], Runtime] | None
    connect_timeout: float
    start_timeout: float


def check_runtime(runtime: Callable[[], Runtime] | None, owner: str) -> None:
    """Raises ConfigError for what cannot make a Runtime."""
    if runtime is not None and not callable(cast("object", runtime)):
        raise ConfigError(f"{owner}(runtime={runtime!r}): must be a function that makes a Runtime")
