"""The health of a runtime, as plain data for a framework's endpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Health", "ServiceHealth"]


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One service, and why it is not simply up."""

    state: Literal["starting", "up", "degraded", "failed", "stopping", "stopped"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """`live`: the process need not be replaced. `ready`: it takes new work, and each service is up or degraded."""

    live: bool
    ready: bool
    services: Mapping[str, ServiceHealth]
