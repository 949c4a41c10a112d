"""The workers on Ray: actors, each from its start to its end, on the engine's thread.

1. The engine connects with the first call. What waits is refused where that fails.
2. Actors are started while calls wait and there are fewer than allowed. One that does not start in time is ended; where
   no worker is left then, what waits is refused.
3. A worker that is killed or lost ends for Ray, too, and one of which Ray does not say so in time ends all the same.
4. A close ends each worker's runtime, then the workers, and leaves the cluster.
"""

import abc
import asyncio
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..telemetry import _logs
from . import _ray_cluster as cluster
from ._engine import Engine
from ._frames import Kind
from ._ray_member import Member, actors, hello, words
from ._shown import Row

if TYPE_CHECKING:
    from ._settings import RaySettings

__all__ = ["RayWorkers"]

log = _logs.logger("pools")

#: Seconds of a close in which workers that did not end in order are killed.
_LAST = 2.0
#: Seconds in which Ray says that a worker which was killed has ended.
_KILLED = 5.0
#: Seconds until the next start after one that failed, where there are other workers.
_PAUSE = 5.0
#: Workers that end one after another before they are ready, until the pool gives up.
_STARTS = 3


class RayWorkers(Engine, abc.ABC):
    """The actors of one pool."""

    def __init__(self, settings: "RaySettings") -> None:
        super().__init__(settings.name)
        self._settings = settings
        self.members: list[Member] = []
        #: Workers that have ended, and whose calls have not all said so: those do by themselves while Ray is there.
        self._unanswered: set[Member] = set()
        self._hello = b""
        self._class: Any = None
        #: "": not yet; then "connecting", "connected", "losing" all workers, "leaving".
        self._state = ""
        self._failures = 0
        self._heard = time.monotonic()
        #: Until then no worker is started beside others.
        self._pause = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.begin()

    @abc.abstractmethod
    def _told(self, member: Member, events: list[tuple[Kind, bytes]] | None, error: BaseException | None) -> None:
        """Acts on what a worker has to say, and asks again."""

    @abc.abstractmethod
    def _take_events(self, member: Member, events: list[tuple[Kind, bytes]]) -> None:
        """Acts on them."""

    @abc.abstractmethod
    def _cancel_at(self, member: Member, number: int) -> None:
        """Asks a call to end."""

    @abc.abstractmethod
    def _look_after(self) -> None:
        """Looks at the workers and at the head, again and again."""

    def rows(self) -> list[Row]:
        """Its workers by their pids, with what they have. Their memory is another machine's, and not known."""
        with self.lock:
            return [
                (
                    f"pid {each.pid}" if each.pid else "starting",
                    [call.remote.name for call in each.sent.values()],
                    each.calls,
                    0,
                )
                for each in self.members
            ]

    def abandon(self) -> None:
        cluster.forked(self)

    # -- step 1 --------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._state = "connecting"
        self._connecting = self._loop.create_task(self._connect_now())
        self._connecting.add_done_callback(self._gave_up)

    def _gave_up(self, connecting: "asyncio.Task[None]") -> None:
        if connecting.cancelled():
            self._state = ""
            self._look_closed()

    async def _connect_now(self) -> None:
        try:
            self._hello = hello(self._settings)
            await cluster.aside(self._join_cluster, cluster.leave)
        except Exception as error:
            self._state = ""
            self._refuse_waiting(self._none(f": {error}"))
            self._look_closed()
            return
        self._state = "connected"
        self._heard = time.monotonic()
        self._look_after()
        if self._closing:
            self._leave_cluster()
        elif self._started:
            self._start_all()
        self._pump()

    def _join_cluster(self) -> None:
        self._class = actors(self._settings)
        settings = self._settings
        starts = settings.address is None
        cluster.join(settings.address, settings.start_timeout if starts else settings.connect_timeout)

    # -- step 2 --------------------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        if self._state == "":
            self._connect()
        elif self._state == "connected":
            for _ in range(max(self._settings.least, 1) - sum(not member.retired for member in self.members)):
                self._start()

    def _ready(self) -> bool:
        return sum(member.ready for member in self.members) >= max(self._settings.least, 1)

    def _start(self) -> None:
        try:
            member = Member(cluster.create(self._class), time.monotonic())
        except Exception:
            if cluster.connected():
                raise
            return  # the program has ended the connection, which a look will find
        self.figures.starts(sum(not each.retired for each in self.members))
        self.members.append(member)
        self._ask(member.actor.start, (self._hello,), self._has_started, member)
        self._loop.call_later(self._settings.start_timeout, self._is_late, member)

    def _has_started(self, member: Member, answer: Any, error: BaseException | None) -> None:
        if error is not None:
            self._gone(member, words(error))
            return
        member.pid, why = answer
        if why:
            self._failures = _STARTS
            self._kill(member, why)
            return
        member.ready, member.idle_since = not member.retired, time.monotonic()
        self._failures = 0
        self._ask(member.actor.events, (), self._told, member)
        self._look_started()
        self._pump()

    def _is_late(self, member: Member) -> None:
        if not member.pid and not member.over:
            if any(each.ready for each in self.members):  # no room for more: the pool goes on with those it has
                self._retire(member)
                return
            self._failures = _STARTS
            limit, asked = self._settings.start_timeout, self._settings.resources or {"CPU": 1}
            self._kill(member, f"none came within {limit:g} s: no node has room for {asked}, or it is slow to start")

    def _ask(self, method: Any, arguments: tuple[Any, ...], hear: Callable[..., object], *about: Any) -> None:
        """Calls an actor's method, and has `hear` called on this thread with the answer or the error."""

        def done(future: Any) -> None:
            error: BaseException | None = future.exception()
            heard = functools.partial(hear, *about, future.result() if error is None else None, error)
            self._hand(heard)

        try:
            cluster.send(method, arguments).future().add_done_callback(done)
        except Exception as failure:  # the connection has ended
            self._loop.call_soon(functools.partial(hear, *about, None, failure))

    # -- steps 3 and 4 -------------------------------------------------------------------------------------------------

    def _kill(self, member: Member, why: str) -> None:
        """Ends a worker at once: its calls answer that it has ended."""
        with self.lock:
            member.why = member.why or why
            member.ready, member.retired = False, True
        if not member.over:
            cluster.end(member.actor, self._settings.address)
            if member.sent:
                self._loop.call_later(_KILLED, self._lose, member, why)
            else:
                self._gone(member, why)

    def _lose(self, member: Member, why: str) -> None:
        """A worker that does not say so itself has ended, with the calls that it had."""
        with self.lock:
            sent, member.sent = list(member.sent.values()), {}
            for call in sent:
                self._failed(call, self._lost(call, member.pid, member.why or why))
        self._unanswered.discard(member)
        self._gone(member, why)

    def _gone(self, member: Member, why: str) -> None:
        """A worker has ended."""
        if member.over:
            return
        with self.lock:
            asked = (member.retired and not member.why) or cluster.ending()
            member.ready, member.retired, member.over = False, True, True
            self.members.remove(member)
        why = member.why = member.why or why
        if member.sent:
            self._unanswered.add(member)
            self._loop.call_later(_KILLED, self._lose, member, why)
        if not asked:
            cluster.end(member.actor, self._settings.address)  # it may be there, and only not be reached
            self.lost += 1
            log.warning("%s of pool '%s' is lost: %s", member.name, self.name, why.splitlines()[-1])
        if not asked and (not member.pid or self._failures >= _STARTS):
            self._failures += 1
            self._pause = time.monotonic() + _PAUSE
            if self._failures >= _STARTS and not any(each.ready for each in self.members):
                self._failures = 0
                self._refuse_waiting(self._none(f", as they do not start: {why}"))
            elif self._started:
                self._start_all()
        if self._closing and not self.members:
            self._leave_cluster()
        self._pump()

    def _retire(self, member: Member) -> None:
        """It takes no more calls, and ends after those that it has."""
        with self.lock:
            member.ready, member.retired = False, True
        if not member.sent:
            self._let_end(member)

    def _let_end(self, member: Member) -> None:
        if member.over:
            return
        if member.pid:
            self._ask(member.actor.stop, (), self._has_ended, member)
        else:
            self._has_ended(member, None, None)

    def _has_ended(
        self, member: Member, last: tuple[list[str], list[tuple[Kind, bytes]]] | None, error: BaseException | None
    ) -> None:
        if member.over:
            return
        late, events = last or ([], [])
        self._take_events(member, events)
        self._left += [f"{each} of {member.name}" for each in late]
        cluster.end(member.actor, self._settings.address)
        self._gone(member, "")

    def _close(self, seconds: float) -> None:
        """Step 4."""
        if self._connecting is not None:
            self._connecting.cancel()
        for member in list(self.members):
            self._retire(member)
            for number in list(member.sent):
                self._cancel_at(member, number)
        self._loop.call_later(max(seconds - _LAST, 0.0), self._end_all)
        if not self.members:
            self._leave_cluster()

    def _end_all(self) -> None:
        for member in list(self.members):
            self._left.append(member.name)
            self._kill(member, "it did not end with its pool")

    def _leave_cluster(self, *, gone: bool = False) -> None:
        if self._state in ("connected", "losing"):
            self._state = "leaving"
            self._begin(self._leave_now(gone))

    async def _leave_now(self, gone: bool) -> None:
        await cluster.aside(lambda: cluster.leave(gone=gone))
        for member in list(self._unanswered):
            self._lose(member, "its pool has left the cluster")
        self._state = ""
        self._look_closed()
        self._pump()

    def _empty(self) -> bool:
        return not self.members and self._state == ""
