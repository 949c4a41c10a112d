"""The manager of a pool of processes: the engine that has worker processes.

1. A caller's thread puts a call into the lanes and wakes the manager.
2. The manager hands waiting calls, the most urgent first, to workers that have room, and starts workers while calls
   wait and there are fewer than allowed. A worker has room for `per_worker` calls; for more, which it keeps until their
   turn, only where all that it has are known to be short. A call that comes while none waits goes to a worker that has
   none at once, from its caller's thread.
3. Calls that wait at a worker behind one that is not short after all are asked back.
4. A cancel goes to the worker. One that is not acknowledged, or a function that does not end, within the grace ends the
   worker: its call has ended then, and the others that it began are lost.
"""

import os
import pickle
from itertools import count
from typing import TYPE_CHECKING

from .._effect.remote import Remote
from ._call import Call
from ._failures import copy_of, unpacked, unreadable
from ._frames import FRAMES, Frame, Kind, frame
from ._member import Member
from ._packing import unpack
from ._records import take
from ._workers import GRACE, Workers

if TYPE_CHECKING:
    from ._settings import Settings

__all__ = ["Manager"]

#: Calls that a worker keeps beside those at work, and the seconds up to which calls count as short.
_AHEAD, _SHORT = 32, 0.0005
#: Seconds after which calls that wait at a worker are asked back.
_STUCK = 0.02


class Manager(Workers):
    """The calls of one pool, on their way to its workers and back."""

    def __init__(self, settings: "Settings") -> None:
        super().__init__(settings)
        #: Seconds that the calls of each function take, of late.
        self._took: dict[Remote, float] = {}
        self.begin()

    def submit(self, call: Call) -> None:
        """Step 1."""
        with self.lock:
            if self._over:
                call.job.fail(copy_of(self._shut(), call.remote.name))
                return
            if not self.waiting and not call.packed.large and (member := self._free()) is not None:
                self._give(member, call)
                if member.send(frame(Kind.CALL, call.number, call.body)) and self.figures.ticks:
                    return
            else:
                self._join(call)
        self._wake()

    def _free(self) -> Member | None:
        """A worker without a call, that may have one at once."""
        if self._settings.max_calls is None:
            for member in self.members:
                if member.ready and not member.sent and not member.out:
                    return member
        return None

    def _look(self) -> None:
        super()._look()
        for member in self.members:
            if member.out:
                self._loop.add_writer(member.link.end, self._write, member)

    def _pump(self) -> None:
        """Step 2."""
        with self.lock:
            while self.waiting:
                open_to = [member for member in self.members if member.ready and not member.retired]
                if not open_to:
                    break
                member = min(open_to, key=_load)
                if not self._fill(member):
                    break
        if self.waiting and not self._closing:
            places = self._settings.workers - self._starting - sum(not member.retired for member in self.members)
            coming = self._starting + sum(not member.ready and not member.retired for member in self.members)
            for _ in range(min(places, -(-self.waiting // self._settings.per_worker) - coming)):
                self._start()

    def _fill(self, member: Member) -> bool:
        """Hands calls to a worker. False: it has no room."""
        room = self._room(member)
        if room <= 0:
            return False
        batch: list[bytes] = []
        size = 0
        while room > 0 and (call := self._take()) is not None:
            self._give(member, call)
            room -= 1
            if call.packed.large:
                self._send(member, b"".join(batch))
                batch, size = [], 0
                try:
                    call.file = self._files.write(call.packed)
                    self._send(member, frame(Kind.CALL, call.number, call.body), os.dup(call.file))
                except OSError as error:
                    del member.sent[call.number]
                    call.job.fail(error)
                continue
            packet = frame(Kind.CALL, call.number, call.body)
            if size + len(packet) > FRAMES:
                self._send(member, b"".join(batch))
                batch, size = [], 0
            batch.append(packet)
            size += len(packet)
            limit = self._settings.max_calls
            if limit is not None and member.calls >= limit:
                self._retire(member)
                break
            if room > 0 and not self._is_short(call):
                room = min(room, self._settings.per_worker - len(member.sent))
        self._send(member, b"".join(batch))
        if len(member.sent) > self._settings.per_worker:
            self._loop.call_later(_STUCK, self._ask_back, member, member.begun())
        return True

    def _room(self, member: Member) -> int:
        places = self._settings.per_worker - len(member.sent)
        others = sum(each.ready and not each.retired for each in self.members)
        ahead = min(_AHEAD, self.waiting // max(others, 1))
        limit = self._settings.max_calls
        most = places if limit is None else min(places, limit - member.calls)
        if ahead <= places or len(member.sent) > _AHEAD // 2:
            return most
        if all(map(self._is_short, member.sent.values())):
            return ahead if limit is None else min(ahead, limit - member.calls)
        return most

    def _is_short(self, call: Call) -> bool:
        return self._took.get(call.remote, 1.0) <= _SHORT

    def _ask_back(self, member: Member, begun: int) -> None:
        """Step 3."""
        if member.over or len(member.sent) <= self._settings.per_worker:
            return
        if member.begun() == begun:
            self._send(member, frame(Kind.RECALL))
        else:
            self._loop.call_later(_STUCK, self._ask_back, member, member.begun())

    def _stop(self, call: Call) -> None:
        """Step 4."""
        member: Member = call.member
        self._send(member, frame(Kind.CANCEL, call.number))
        self._loop.call_later(GRACE, self._give_up, member, call.number, "did not end when it was cancelled")

    def _read(self, member: Member) -> None:
        # Of one that has ended all that it sent; of others so much that each has its turn.
        for _ in count() if member.over else range(64):
            try:
                received = member.link.receive()
            except BlockingIOError:
                break
            except (OSError, ValueError) as error:
                self._loop.remove_reader(member.link.end)
                self._kill(member, f"it broke the connection: {error}")
                break
            if received is None:
                self._loop.remove_reader(member.link.end)
                if not member.retired:
                    self._loop.call_later(GRACE, self._kill, member, "it closed the connection")
                break
            frames, fd = received
            try:
                for each in frames:
                    fd = self._hear(member, each, fd)
            except Exception as error:
                self._kill(member, f"it sent what no worker sends: {error!r}")
            finally:
                if fd is not None:
                    os.close(fd)
        if member.retired and not member.sent:
            self._let_end(member)
        self._pump()

    def _hear(self, member: Member, message: Frame, fd: int | None) -> int | None:
        """Acts on a message. Gives the descriptor, unless it is used up."""
        kind, number, took, body = message
        if kind in (Kind.VALUE, Kind.ERROR):
            with self.lock:
                call = member.sent.pop(number, None)
            member.cleaning.discard(number)
            if call is not None:
                self._note(call.remote, took)
                self._let_go(call)
                self._answer(member, call, kind, body, fd)
                if fd is not None:
                    self._send(member, frame(Kind.READ, number))
                fd = None
            if self._settings.max_memory is not None:
                self._weigh(member)
        elif kind == Kind.READY:
            self._is_ready(member)
        elif kind == Kind.FAILED:
            member.why = str(body, "utf-8", "replace")
        elif kind == Kind.STOPPING:
            member.cleaning.add(number)
        elif kind == Kind.RETURNED:
            with self.lock:
                for each in pickle.loads(body):
                    if (call := member.sent.pop(each, None)) is not None:
                        self._again(call)
        elif kind == Kind.STUCK:
            self._kill(member, f"'{str(body, 'utf-8')}' did not end after its limit")
        elif kind == Kind.EXITS:
            member.why = str(body, "utf-8", "replace")
            member.ready, member.retired = False, True
        elif kind in (Kind.LOG, Kind.SPANS):
            take(kind, body)
        elif kind == Kind.COUNTS:
            self.figures.add(pickle.loads(body))
        elif kind == Kind.REPORT:
            if self._closing:
                self._left += [f"{each} of worker {member.pid}" for each in pickle.loads(body)]
        else:
            raise ValueError(f"a message of kind {kind}")
        return fd

    def _answer(self, member: Member, call: Call, kind: int, body: memoryview, fd: int | None) -> None:
        try:
            if kind == Kind.VALUE:
                call.job.succeed(unpack(body, fd))
                self.figures.succeeded += 1
                return
            failure = unpacked(unpack(body, fd) if fd is not None else body, call.remote.name)
            failure = self._closed(call, member.pid, failure)
        except BaseException as error:  # also an exit: it is the answer that failed, and not this program
            failure = unreadable(error, call.remote.name)
        self._failed(call, failure)

    def _note(self, remote: Remote, took: int) -> None:
        before = self._took.get(remote)
        now = took * 1e-6
        self._took[remote] = now if before is None or now > before else before + (now - before) / 8


def _load(member: Member) -> int:
    return len(member.sent)
