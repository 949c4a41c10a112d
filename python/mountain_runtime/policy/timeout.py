"""Timeout: how long a call, or an attempt of it, may take."""

from dataclasses import dataclass
from math import inf

from .._native import Layer
from ._base import Policy
from ._numbers import Seconds, seconds, written
from ._part import Part, span

__all__ = ["Timeout"]


@dataclass(frozen=True, slots=True, repr=False)
class Timeout(Policy):
    """Ends what it encloses after so many seconds, with `errors.TimedOut`.

    Outside a Retry it bounds the whole call, waits and all; inside one, each attempt. It is also the deadline of
    whatever the call awaits. The work is asked to stop and its cleanup is awaited, which may overrun the limit.
    """

    seconds: Seconds

    _instead = "write `async with deadline(seconds):`"

    def __post_init__(self) -> None:
        seconds(self.seconds, "Timeout", "seconds")

    def __repr__(self) -> str:
        return f"Timeout({written(self.seconds)})"

    def _part(self) -> Part:
        limit = seconds(self.seconds, "Timeout", "seconds")
        does = "no limit" if limit == inf else f"ends what is inside after {span(limit)}"
        return Part(kind="timeout", text=repr(self), does=does, limit=limit)

    def _layer(self) -> Layer:
        return Layer.timeout(seconds(self.seconds, "Timeout", "seconds"))
