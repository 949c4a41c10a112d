"""The engine of workers on Ray: calls on their way to actors and back.

1. A call is sent to an actor that has room, from its caller's thread where it can be: one execution, as Ray repeats
   none.
2. Its answer comes on a thread of Ray's, which gives it to the caller where that is all. What else there is to do is
   done on the engine's thread. An answer that says that the actor has ended is the end of the worker.
3. A cancel is a message. A worker that takes no notice of it, or whose function does not stop, is killed.
"""

import functools
import pickle
import time
from collections.abc import Sequence
from typing import Any

from . import _ray_cluster as cluster
from ._answers import End, packet
from ._call import Call
from ._frames import Kind
from ._packing import INLINE
from ._ray_member import Member, words
from ._ray_watch import RayWatch
from ._records import take

__all__ = ["RayEngine"]

#: Seconds until a worker that has not heard of a cancel is killed.
_HEARS = 2.0


class RayEngine(RayWatch):
    """The calls of one pool, on their way to its actors and back."""

    def submit(self, call: Call) -> None:
        """A small call that comes while none waits is sent from its caller's thread, where a worker has room."""
        if not self._send_at_once(call):
            super().submit(call)
        elif not self.figures.ticks:
            self._wake()

    def _send_at_once(self, call: Call) -> bool:
        with self.lock:
            if self.waiting or call.packed.large or self._closing or (member := self._free()) is None:
                return False
            self._send(member, call)
            return True

    # -- steps 1 and 2 -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._closing:
            return
        if self.waiting and self._state == "":
            self._connect()
        if self._state != "connected":
            return
        with self.lock:
            while self.waiting and (member := self._free()) is not None and (call := self._take()) is not None:
                self._send(member, call)
        coming = sum(not member.ready and not member.retired for member in self.members)
        places = self._settings.most - sum(not member.retired for member in self.members)
        if self.members and time.monotonic() < self._pause:
            return
        for _ in range(min(places, -(-self.waiting // self._settings.per_worker) - coming)):
            self._start()

    def _free(self) -> Member | None:
        open_to = [each for each in self.members if each.ready and len(each.sent) < self._settings.per_worker]
        return min(open_to, key=lambda each: len(each.sent), default=None)

    def _send(self, member: Member, call: Call) -> None:
        self._give(member, call)
        number = call.number
        try:
            reference = cluster.send(member.actor.call, (packet(call), *call.packed.pieces))
        except Exception as error:  # the connection has ended, or there is no room for large arguments
            del member.sent[number]
            self._failed(call, self._none(f": the call was not sent: {type(error).__name__}: {error}"))
            self._hand(self._look_after)
            return
        reference.future().add_done_callback(functools.partial(self._come_back, member, number))

    def _come_back(self, member: Member, number: int, future: Any) -> None:
        """The answer of a call, on a thread of Ray's: the usual one is given to its caller from there."""
        error: BaseException | None = future.exception()
        answer: bytes | tuple[bytes, list[Any]] | None = future.result() if error is None else None
        if isinstance(answer, bytes) and len(answer) <= INLINE and answer[0] in (End.VALUE, End.ERROR):
            self._answer(member, number, answer)
            if not self.waiting and not member.retired:
                return
        self._hand(self._answered, member, number, answer, error)

    def _answered(
        self, member: Member, number: int, answer: bytes | tuple[bytes, list[Any]] | None, error: BaseException | None
    ) -> None:
        if answer is None:
            with self.lock:
                call = member.sent.pop(number, None)
            if call is not None:
                self._failed(call, self._lost(call, member.pid, member.why or words(error)))
            self._gone(member, words(error))
            if not member.sent:
                self._unanswered.discard(member)
            return
        head, pieces = (answer, []) if isinstance(answer, bytes) else answer
        end = End(head[0])
        if End.STUCK in end:
            call = member.sent.get(number)
            self._kill(member, f"'{call.remote.name if call else 'a function'}' did not end after its limit")
        if End.EXIT in end:
            self._kill(member, str(head[1:], "utf-8", "replace"))
        self._answer(member, number, head, pieces)
        if member.retired and not member.sent:
            if member.why:
                self._gone(member, member.why)
            else:
                self._let_end(member)
        self._pump()

    def _answer(self, member: Member, number: int, head: bytes, pieces: Sequence[Any] = ()) -> None:
        with self.lock:
            call = member.sent.pop(number, None)
            member.stopping.discard(number)
        member.idle_since = time.monotonic()
        if call is not None:
            self._deliver(call, member.pid, head, pieces)

    def _told(self, member: Member, events: list[tuple[Kind, bytes]] | None, error: BaseException | None) -> None:
        if events is None:
            self._gone(member, words(error))
            return
        self._heard = time.monotonic()
        self._take_events(member, events)
        if not member.over:
            self._ask(member.actor.events, (), self._told, member)

    def _take_events(self, member: Member, events: list[tuple[Kind, bytes]]) -> None:
        for kind, body in events:
            if kind == Kind.COUNTS:
                self.figures.add(pickle.loads(body))
            elif kind != Kind.STUCK:
                take(kind, body)
            elif (call := member.sent.get(int(body))) is not None:
                self._kill(member, f"'{call.remote.name}' did not end after its limit")

    # -- step 3 --------------------------------------------------------------------------------------------------------

    def _stop(self, call: Call) -> None:
        self._cancel_at(call.member, call.number)

    def _cancel_at(self, member: Member, number: int) -> None:
        self._ask(member.actor.cancel, (number,), self._has_heard, member, number)
        self._loop.call_later(_HEARS, self._give_up, member, number)

    def _has_heard(self, member: Member, number: int, _answer: None, error: BaseException | None) -> None:
        if error is None and number in member.sent:
            member.stopping.add(number)

    def _give_up(self, member: Member, number: int) -> None:
        call = member.sent.get(number)
        if call is None or member.over:
            return
        if number not in member.stopping:
            self._kill(member, f"'{call.remote.name}' did not end when it was cancelled")
            return
        # Its cleanup may take its time, in a worker that is there.
        member.stopping.discard(number)
        self._ask(member.actor.hears, (), self._has_heard, member, number)
        self._loop.call_later(_HEARS, self._give_up, member, number)
