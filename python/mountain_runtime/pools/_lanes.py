"""The lanes of a pool: calls that wait for a worker, the most urgent next, each lane in the order of arrival."""

import threading

from .._native import Jobs
from ._call import Call

__all__ = ["Lanes"]


class Lanes:
    """Calls that wait. All but `waiting` is for those who hold the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: Calls that wait and are still wanted.
        self.waiting = 0
        self._jobs: Jobs[Call] = Jobs()

    def _take(self) -> Call | None:
        """The next call that is still wanted."""
        while (call := self._jobs.take()) is not None:
            if call.waits:
                self._leave(call)
                return call
        return None

    def _join(self, call: Call) -> None:
        """It waits in the lanes."""
        call.waits = True
        self.waiting += 1
        self._jobs.put(call, call.priority)

    def _leave(self, call: Call) -> None:
        call.waits = False
        self.waiting -= 1
