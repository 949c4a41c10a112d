"""The counts of a worker's effects, sent to its pool: what was added since the last time."""

import pickle
from collections.abc import Callable

from .. import _native
from ._frames import Kind

__all__ = ["Counts"]

#: Seconds between two times; effects in one message.
_EVERY, _MANY = 1.0, 32


class Counts:
    """The counts that are not sent yet."""

    def __init__(self, say: Callable[[Kind, bytes], object]) -> None:
        self._say = say
        self._sent = 0.0

    def look(self, now: float) -> None:
        """Sends what was added, once a second."""
        if now - self._sent >= _EVERY:
            self._sent = now
            self.send()

    def send(self) -> None:
        """Sends what was added."""
        gained = _native.counts_gained()
        for at in range(0, len(gained), _MANY):
            self._say(Kind.COUNTS, pickle.dumps(gained[at : at + _MANY], 5))
