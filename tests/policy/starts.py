"""Starts under a rate limit: noted by the function that is limited, and held against every window of the limit."""

import time
from collections.abc import Sequence

#: The engine counts a start just before the function's first line notes it. A thread may be held up between the two,
#: so that the next start seems to come too early: by so many seconds at most, on a machine that is busy.
HELD_UP = 0.02


class Starts(list[float]):
    """When each call began, by the clock that the engine goes by; of a call with a cost, as often as it costs."""

    async def __call__(self, cost: int = 1) -> int:
        now = time.monotonic()
        self.extend([now] * cost)
        return cost

    def since(self, begun: float) -> list[float]:
        return [at - begun for at in self]


def most_within(starts: Sequence[float], per: float) -> int:
    """The most starts that some half-open window of `per` seconds, less the tolerance, holds."""
    ordered = sorted(starts)
    most, first = 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= per - HELD_UP:
            first += 1
        most = max(most, last - first + 1)
    return most
