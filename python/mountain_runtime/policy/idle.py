"""Idle: how long a stream's consumer waits for the next item."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from .._native import Layer
from ._base import Policy
from ._numbers import Seconds, seconds, written
from ._part import Part, span

__all__ = ["Idle"]


@dataclass(frozen=True, slots=True, repr=False)
class Idle(Policy):
    """Ends a stream whose next item does not come within so many seconds, with `errors.TimedOut`.

    The first item is one of them; the consumer's own time between two pulls does not count. Inside a Retry, the wait
    for the first item is that of each attempt, and is tried again. A ConfigError on an effect, which has one value: a
    Timeout bounds that.
    """

    seconds: Seconds

    _instead = "give it to @stream(...)"

    def __post_init__(self) -> None:
        seconds(self.seconds, "Idle", "seconds")

    def __repr__(self) -> str:
        return f"Idle({written(self.seconds)})"

    def _only(self) -> Literal["stream"]:
        return "stream"

    def _part(self) -> Part:
        limit = seconds(self.seconds, "Idle", "seconds")
        does = "no limit" if limit == inf else f"ends what is inside when an item takes longer than {span(limit)}"
        return Part(kind="idle", text=repr(self), does=does)

    def _layer(self) -> Layer:
        return Layer.idle(seconds(self.seconds, "Idle", "seconds"))
