"""The workers of a pool: each from its start to its end, on the manager's thread.

1. A worker is started, and is ready when it has said so. Those that end one after another before they are ready fail
   the calls that wait; so does one that says why it cannot start.
2. A worker retires when it has had its number of calls, or takes too much memory: it gets no more, and is let end after
   those that it has. It is ended at once where a call does not stop, or where it breaks the connection.
3. When it has ended, its answers are read to their end. The calls that it had begun, by the page that it shares, may
   have run, and fail; the others wait again in the lanes.
4. A close cancels what is at work, and retires every worker. What has not ended in time is ended.
"""

import abc
import contextlib
import functools
import pickle
import signal
import time
from typing import TYPE_CHECKING

from ..telemetry import _logs
from . import _shown, _start
from ._call import Call
from ._engine import Engine
from ._files import Files
from ._frames import Kind, frame
from ._member import Member
from ._settings import STOP

if TYPE_CHECKING:
    from ._settings import Settings

__all__ = ["GRACE", "Workers"]

log = _logs.logger("pools")

#: Seconds between the wish that a call ends, or a worker, and the end of its worker.
GRACE = 0.5
#: Workers that end one after another before they are ready, until the pool gives up.
_STARTS = 3
#: Seconds between two looks at a worker's memory.
_LOOKS = 0.1


class Workers(Engine):
    """The workers of one pool, and the calls that wait for them."""

    def __init__(self, settings: "Settings") -> None:
        super().__init__(settings.name)
        self._settings = settings
        self.members: list[Member] = []
        #: Workers of which the process is being made.
        self._starting = 0
        self._failures = 0
        #: The memory files of arguments.
        self._files = Files()

    @abc.abstractmethod
    def _read(self, member: Member) -> None:
        """Acts on what a worker has sent."""

    def _end(self) -> None:
        self._files.forget(all=True)

    def abandon(self) -> None:
        """In a forked child."""
        for member in self.members:
            with contextlib.suppress(OSError, BufferError):
                member.close()

    def _let_go(self, call: Call) -> None:
        """No worker reads its memory file any more."""
        if call.file is not None:
            fd, call.file = call.file, None
            self._files.give_back(fd, call.packed)
            self._loop.call_later(1.5, self._files.forget)

    def _again(self, call: Call) -> None:
        self._let_go(call)
        super()._again(call)

    def _send(self, member: Member, packet: bytes, fd: int | None = None) -> None:
        if packet and not member.send(packet, fd) and not member.over:
            self._loop.add_writer(member.link.end, self._write, member)

    def _write(self, member: Member) -> None:
        with self.lock:
            if member.flush():
                self._loop.remove_writer(member.link.end)

    def _start(self) -> None:
        self.figures.starts(self._starting + sum(not member.retired for member in self.members))
        self._starting += 1
        self._begin(self._start_one())

    async def _start_one(self) -> None:
        try:
            member = await _start.begin(self._settings, len(self.members), self._loop)
        except BaseException as error:
            self._starting -= 1
            self._refuse_waiting(self._none(f": {error}"))
            self._look_closed()
            if not isinstance(error, Exception):
                raise
            return
        self._starting -= 1
        self.members.append(member)
        self._loop.add_reader(member.link.end, self._read, member)
        if self._closing:
            self._retire(member)
        assert member.child is not None
        code = await member.child.watch_end()
        self._ended(member, code)

    def _is_ready(self, member: Member) -> None:
        """A worker has said that it is ready."""
        assert member.stderr is not None
        member.stderr.when_written(functools.partial(self._open, member))

    def _open(self, member: Member) -> None:
        member.ready, member.began = not member.retired, True
        self._failures = 0
        self._look_started()
        self._pump()

    def _ended(self, member: Member, code: int) -> None:
        """Step 3."""
        member.ready, member.over = False, True
        self._loop.remove_writer(member.link.end)
        self._read(member)  # its last answers
        self._loop.remove_reader(member.link.end)
        with self.lock:
            self._gone(member, code)
        self._pump()
        self._look_closed()

    def _gone(self, member: Member, code: int) -> None:
        asked = member.retired and not member.sent and not member.why
        was_ready = member.began or asked
        member.ready, member.retired, member.over = False, True, True
        self.members.remove(member)
        self.figures.wake()
        begun = member.begun()
        why = member.why or _start.ended(code)
        lines = member.stderr.end() if member.stderr is not None else ""
        member.close()
        sent, member.sent = list(member.sent.values()), {}
        if not asked:
            self.lost += 1
            log.warning("worker %d of pool '%s' is lost: %s", member.pid, self._settings.name, why.splitlines()[-1])
        for call in sent:
            if call.number > begun:
                self._again(call)
            else:
                self._let_go(call)
                self._failed(call, self._lost(call, member.pid, why))
        if not was_ready:
            self._failures += 1
            if member.why or self._failures >= _STARTS:
                self._failures = 0
                last = f". Its last lines:\n{lines}" if lines and not member.why else ""
                self._refuse_waiting(self._none(f", as they do not start: {why}{last}"))
            elif self._started and not self._closing:
                self._start()

    def _weigh(self, member: Member) -> None:
        now = time.monotonic()
        most = self._settings.max_memory
        if most is not None and not member.retired and now - member.memory_at > _LOOKS:
            member.memory_at = now
            if member.resident() > most:
                self._retire(member)

    def _retire(self, member: Member) -> None:
        """It takes no more calls, and ends after those that it has."""
        member.retired, member.ready = True, False
        if not member.sent:
            self._let_end(member)

    def _let_end(self, member: Member) -> None:
        if not member.began:  # it has nothing to end in order
            self._kill(member, "")
        elif not member.over and not member.why:
            self._send(member, frame(Kind.CLOSE, body=pickle.dumps(STOP)))
            self._loop.call_later(STOP + GRACE, self._kill, member, "")

    def _kill(self, member: Member, why: str) -> None:
        """Ends a worker at once."""
        member.why = member.why or why
        member.ready, member.retired = False, True
        if member.child is not None:
            with contextlib.suppress(ProcessLookupError):
                member.child.signal(signal.SIGKILL)

    def _give_up(self, member: Member, number: int, what: str) -> None:
        call = member.sent.get(number)
        if call is not None and not member.over and number not in member.cleaning:
            self._kill(member, f"'{call.remote.name}' {what}")

    def _start_all(self) -> None:
        there = self._starting + sum(not member.retired for member in self.members)
        for _ in range(self._settings.workers - there):
            self._start()

    def _ready(self) -> bool:
        return sum(member.ready for member in self.members) >= self._settings.workers

    def _close(self, seconds: float) -> None:
        """Step 4."""
        for member in self.members:
            for call in list(member.sent.values()):
                self._send(member, frame(Kind.CANCEL, call.number))
                self._loop.call_later(GRACE, self._give_up, member, call.number, "did not end with its pool")
            self._retire(member)
        self._loop.call_later(max(seconds - GRACE, 0.0), self._end_all)

    def _end_all(self) -> None:
        for member in self.members:
            self._left.append(f"worker {member.pid}")
            self._kill(member, "it did not end with its pool")

    def _empty(self) -> bool:
        return not self.members and not self._starting

    def statistics(self) -> tuple[int, int]:
        """How many workers there are, and calls that they have. From any thread."""
        workers, running = super().statistics()
        return workers + self._starting, running

    def rows(self) -> list[_shown.Row]:
        """Its workers by their pids, with what they have begun."""
        with self.lock:
            begun = [(member, member.begun(), list(member.sent.values())) for member in self.members]
        return [
            (
                f"pid {member.pid}",
                [call.remote.name for call in sent if call.number <= last],
                member.calls,
                member.resident(),
            )
            for member, last, sent in begun
        ]
