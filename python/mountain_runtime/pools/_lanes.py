"""The calls of a pool: those that wait in lanes, the most urgent next, each lane by arrival; and those of workers."""

import threading
from typing import Any, Protocol

from .._native import Jobs
from ._call import Call

__all__ = ["Holder", "Lanes"]


class Holder(Protocol):
    """A worker, as its engine sees it."""

    #: The calls that it has, by number.
    sent: dict[int, Call]
    #: Calls that it was sent, ever.
    calls: int


class Lanes:
    """Calls that wait, and those that workers have. All but figures is for those who hold the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: Calls that wait and are still wanted.
        self.waiting = 0
        self._jobs: Jobs[Call] = Jobs()
        #: The workers, each a `Holder`.
        self.members: list[Any] = []
        self._number = 0

    def statistics(self) -> tuple[int, int]:
        """How many workers there are, and calls that they have. From any thread."""
        members = list(self.members)
        return len(members), sum(len(member.sent) for member in members)

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

    def _give(self, member: Holder, call: Call) -> None:
        """A worker has it from now on, under the next number: those of a later call are higher."""
        self._number += 1
        call.number, call.member = self._number, member
        member.sent[call.number] = call
        member.calls += 1
