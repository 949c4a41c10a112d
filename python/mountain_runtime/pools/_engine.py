"""Engine, the base of what has the workers of one pool: calls that wait, and one thread with an event loop of its own.

1. A caller's thread submits a call: it waits in the lanes, and the engine is woken.
2. The engine hands waiting calls to workers, the most urgent first, and starts workers (`_pump`).
3. A call ends once, by its job. One whose worker is lost fails with WorkerLost where it may have run, and waits again
   where it has not begun.
4. A cancel takes a waiting call out of the lanes. Of one that a worker has, the engine asks that worker, and ends a
   worker that does not answer (`_stop`).
5. A close refuses what waits, cancels what is at work, and ends every worker within so many seconds (`_close`). Then
   the loop stops.

One lock is held for all that other threads touch: the lanes, the inbox, and the calls that workers have.
"""

import abc
import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from .._native import Job
from ..errors import NoWorkers, ShuttingDown, WorkerLost
from ..telemetry import _logs, _otel
from . import _shown
from ._answers import End
from ._call import Call
from ._failures import copy_of, unpacked, unreadable, worker_lost
from ._figures import Figures
from ._lanes import Lanes
from ._packing import unpack_pieces

__all__ = ["Engine"]

log = _logs.logger("pools")


class Engine(Lanes, abc.ABC):
    """The workers of one pool, from the first call to the close."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        #: Workers that have ended unasked, or had to be ended.
        self.lost = 0
        self._inbox: deque[tuple[str, Any]] = deque()
        self._woken = False
        #: The thread has ended.
        self._over = False
        #: Those who wait for the start, and for the close.
        self._started: list[Job] = []
        self._closing: list[Job] = []
        #: The parts of workers that did not end in order.
        self._left: list[str] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.SelectorEventLoop()
        #: Of all steps on the thread: none sees the limit, the priority or the trace of a call that led to it.
        self._context = Context()
        self.figures = Figures(name, self._loop, lambda: (*self.statistics(), self.waiting), lambda: self.lost)
        _shown.note(self)
        self._thread = threading.Thread(target=self._live, name=f"mountain-pool-{name}", daemon=True)

    # -- what a kind of workers adds, on the engine's thread -----------------------------------------------------------

    @abc.abstractmethod
    def _pump(self) -> None:
        """Hands waiting calls to workers, and starts workers for them."""

    @abc.abstractmethod
    def _stop(self, call: Call) -> None:
        """Asks the worker that has the call, `call.member`, to end it; with the lock held."""

    @abc.abstractmethod
    def _start_all(self) -> None:
        """Starts the workers that a block waits for."""

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Whether those are there."""

    @abc.abstractmethod
    def _close(self, seconds: float) -> None:
        """Cancels what is at work, and ends every worker; `_look_closed` is called with each that has ended."""

    def _empty(self) -> bool:
        """Whether every worker has ended."""
        return not self.members

    def rows(self) -> list[_shown.Row]:
        """Its workers, for the live page. From any thread."""
        return []

    def abandon(self) -> None:
        """In a forked child: closes its copies of what the parent has of its workers."""

    def _end(self) -> None:
        """The thread ends."""

    # -- from any thread -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Step 1."""
        with self.lock:
            if self._over:
                call.job.fail(copy_of(self._shut(), call.remote.name))
                return
            self._join(call)
        self._wake()

    def cancel(self, call: Call) -> None:
        """Asks a call to end, which answers."""
        self.ask("cancel", call)

    def ask(self, what: str, about: Any) -> None:
        """Something for the engine to do: "cancel" a call; "start" its workers, or "close" within so many seconds,
        each with the job that hears of it.
        """
        with self.lock:
            self._inbox.append((what, about))
            if self._over:
                self._answer_late()
                return
        self._wake()

    def join(self) -> None:
        """Waits for the last of an engine whose close was answered: an interpreter that ends meanwhile would abort."""
        self._thread.join()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._hand(self._look)

    def _hand(self, step: Callable[..., object], *args: object) -> None:
        """Has a step done on the engine's thread, from any other."""
        with contextlib.suppress(RuntimeError):  # it has ended, and answers late
            self._loop.call_soon_threadsafe(functools.partial(step, *args), context=self._context)

    # -- on its thread -------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            while not self._ran():
                pass
        finally:
            with contextlib.suppress(Exception):
                self._loop.close()
            self._end()
            _otel.hand_over()  # the last spans of workers
            self.figures.close()
            with self.lock:
                self._over = True
                self._answer_late()

    def _ran(self) -> bool:
        """Runs the loop until it is stopped. False: an exit came out of it, such as one of a handler for logs. All
        calls depend on this thread, so it goes on.
        """
        try:
            self._loop.run_forever()
        except BaseException:
            with contextlib.suppress(BaseException):  # the handler that has done it may do so again
                log.exception("pool '%s' goes on after an exit within its thread", self.name)
            return False
        return True

    def _look(self) -> None:
        self._woken = False
        self.figures.wake()
        while self._inbox:
            what, about = self._inbox.popleft()
            match what:
                case "cancel":
                    self._cancel(about)
                case "start":
                    self._started.append(about)
                    self._start_all()
                    self._look_started()
                case "close":
                    self._begin_close(*about)
                case _:
                    pass
        self._pump()

    def _answer_late(self) -> None:
        """Answers requests to an engine that has ended."""
        while self._inbox:
            what, about = self._inbox.popleft()
            if what == "cancel":
                about.job.succeed(None)
            elif what == "start":
                about.fail(self._shut())
            elif what == "close":
                about[1].succeed([])
        self._refuse_waiting(self._shut())

    def _cancel(self, call: Call) -> None:
        """Step 4."""
        with self.lock:
            call.asked = True
            if call.waits:
                self._leave(call)
            if call.member is not None and call.number in call.member.sent:
                self._stop(call)
            else:
                self._cancelled(call)  # it waits, and is passed over, or its answer came meanwhile

    def _begin_close(self, seconds: float, job: Job) -> None:
        """Step 5."""
        self._closing.append(job)
        if len(self._closing) == 1:
            self._refuse_waiting(self._shut())
            self._close(seconds)
            self._look_closed()

    def _look_closed(self) -> None:
        if self._closing and self._empty():
            self._loop.stop()
            for job in self._closing:
                job.succeed(self._left)

    def _look_started(self) -> None:
        if self._started and self._ready():
            for job in self._started:
                job.succeed(None)
            self._started.clear()

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- ends of calls -------------------------------------------------------------------------------------------------

    def _cancelled(self, call: Call) -> None:
        """It was cancelled before it began."""
        self.figures.cancelled += 1
        call.job.succeed(None)

    def _failed(self, call: Call, error: BaseException) -> None:
        """It ended with an error at its worker, or with its worker."""
        self.figures.fails(error, asked=call.asked)
        call.job.fail(error)

    def _deliver(self, call: Call, worker: object, answer: bytes, pieces: Sequence[Any] = ()) -> None:
        """Gives a call the answer of a `Served`; from any thread."""
        body = memoryview(answer)[1:]
        try:
            if answer[0] & End.VALUE:
                call.job.succeed(unpack_pieces(body, pieces))
                with self.lock:
                    self.figures.succeeded += 1
                return
            if answer[0] & End.EXIT:
                failure: BaseException = self._lost(call, worker, str(body, "utf-8", "replace"))
            else:
                failure = self._closed(call, worker, unpacked(body, call.remote.name))
        except BaseException as error:  # also an exit: it is the answer that failed, and not this program
            failure = unreadable(error, call.remote.name)
        with self.lock:
            self._failed(call, failure)

    def _closed(self, call: Call, worker: object, error: BaseException) -> BaseException:
        """The error of a call; one that the close has cancelled is lost."""
        if self._closing and not call.asked and isinstance(error, asyncio.CancelledError):
            return self._lost(call, worker, "its pool was closed")
        return error

    def _again(self, call: Call) -> None:
        """A call that has not begun waits again."""
        if call.asked:
            self._cancelled(call)
            return
        call.number, call.member = 0, None
        self._join(call)

    def _refuse_waiting(self, error: Exception) -> None:
        with self.lock:
            while (call := self._take()) is not None:
                self.figures.refused += 1
                call.job.fail(copy_of(error, call.remote.name))
        for job in self._started:
            job.fail(error)
        self._started.clear()

    def _shut(self) -> ShuttingDown:
        return ShuttingDown(f"the call was not started: pool {self.name!r} is closed")

    def _none(self, why: str) -> NoWorkers:
        return NoWorkers(f"pool {self.name!r} has no workers{why}")

    def _lost(self, call: Call, worker: object, why: str) -> WorkerLost:
        return worker_lost(call.remote.name, f"On({self.name})", worker, why)
