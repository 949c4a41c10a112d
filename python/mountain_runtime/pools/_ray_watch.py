"""Looks at the workers on Ray, and at their cluster, every other second.

1. An idle worker beyond the least number ends.
2. Where the head does not answer for a while, or the program has ended the connection, all workers are lost, and the
   connection is given up: Ray would end the program a minute later.
"""

import abc
import threading
import time

from . import _ray_cluster as cluster
from ._ray_workers import RayWorkers

__all__ = ["RayWatch"]

#: Seconds without a call after which a worker beyond the least number ends.
IDLE = 30.0
#: Seconds between two looks, and for how long the head may not answer.
LOOKS, SILENT = 2.0, 8.0


class RayWatch(RayWorkers, abc.ABC):
    """The workers of one pool, with looks at them."""

    def _look_after(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._state != "connected" or self._closing or cluster.ending():
            return
        if not cluster.connected():
            self._lose_all("the program has ended its connection to Ray")
            return
        threading.Thread(target=self._look_at_head, name="mountain-ray", daemon=True).start()
        now = time.monotonic()
        spare = sum(not member.retired for member in self.members) - self._settings.least
        for member in [each for each in self.members if each.ready and not each.sent]:
            if spare > 0 and now - member.idle_since > IDLE:
                spare -= 1
                self._retire(member)
        self._looking = self._loop.call_later(LOOKS, self._look_after)
        self._pump()

    def _look_at_head(self) -> None:
        there = cluster.alive(self._settings.address, LOOKS)
        self._hand(self._has_looked, there)

    def _has_looked(self, there: bool) -> None:
        if there:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > SILENT:
            self._lose_all("the head of its cluster does not answer")

    def _lose_all(self, why: str) -> None:
        if self._state != "connected":
            return
        self._state = "losing"
        for member in [*self.members, *self._unanswered]:
            member.why = why
            self._lose(member, why)
        self._refuse_waiting(self._none(f": {why}"))
        self._leave_cluster(gone=True)
