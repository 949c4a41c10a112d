"""The calls of a worker: begun in their order, so many at a time, each on a thread or in the runtime's loop.

1. One thread reads: a call that arrives stands in line.
2. Where there is a place, the next in line begins: its number is written on the page that the pool sees. A function
   that stands alone runs on the thread that read it, which lets another read; anything else is an effect in the loop.
3. Its answer is packed and sent where it ends. A thread goes on with the next in line; answers of short calls go
   together. Where every thread is at work, the loop reads, a few milliseconds late.
4. A cancel of a call in line gives it back. One at work is asked to stop.
5. A call has ended when its functions on threads have. If one does not come back within the grace, the pool hears that,
   and ends this process.
"""

import asyncio
import contextlib
import ctypes
import mmap
import os
import pickle
import struct
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import NoReturn, cast

from .._effect.remote import known
from .._effect.stoppable import Stoppable, begun_here
from .._runtime.runtime import Runtime
from .._tasks.exits import EXITS
from ._counts import Counts
from ._failures import packed as packed_error
from ._files import Files
from ._frames import FRAMES, Frame, Kind, Link, frame
from ._functions import came_back, watch
from ._packing import Packed, pack
from ._work import Work, call, enter, took

__all__ = ["Host"]

#: Native, so that it is written at once: a worker that is killed meanwhile has the old number there or the new one.
_PAGE = struct.Struct("@Q")
#: Seconds that an answer may wait for others.
_TOGETHER = 0.001
#: Seconds without a call until memory goes back to the system, and between two looks at what no thread reads.
_IDLE, _POLL = 1.0, 0.005


class Host:
    """Serves the calls of one worker."""

    def __init__(self, link: Link, page: mmap.mmap, places: int, number: int) -> None:
        self.number = number
        self.runtime: Runtime = cast("Runtime", None)
        self.ready = False
        self._link = link
        self._page = page
        self._places = places
        #: Held by the thread that reads.
        self._reading = threading.Lock()
        self._sending = threading.Lock()
        #: For the line, the calls at work, and the page.
        self._lock = threading.Lock()
        self._line: deque[Work] = deque()
        self._at_work: dict[int, Work] = {}
        #: The memory files of results, and those that the pool has not read yet, by number.
        self._files = Files()
        self._results: dict[int, tuple[int, Packed]] = {}
        self._threads = 0
        #: Threads that run no function: they read, or wait to.
        self._idle = 0
        self.counts = Counts(self.say)
        self._context: Context = copy_context()
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=self._after_fork)
        self._last = 0.0
        self._trimmed = True

    async def serve(self) -> None:
        """Serves until the pool ends it."""
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._over = asyncio.Event()
        self.ready = True
        self._add_thread()
        self._look()
        await self._over.wait()

    def say(self, kind: Kind, body: bytes) -> None:
        """Sends a message that belongs to no call."""
        self._send(frame(kind, body=body))

    def later(self, seconds: float, step: Callable[[], object]) -> None:
        """Calls `step` in the loop, so much later."""
        self._in_loop(self._loop.call_later, seconds, step)

    def _in_loop(self, step: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has closed, as this process ends
            self._loop.call_soon_threadsafe(step, *args)

    def _send(self, packet: bytes, fd: int | None = None) -> None:
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its reader sees the end
            self._link.send(packet, fd)

    # -- step 1: by the thread that reads ------------------------------------------------------------------------------

    def _receive(self, *, wait: bool) -> bool:
        """Reads one packet. False: there is none, or there will be none."""
        try:
            received = self._link.receive(wait=wait)
        except BlockingIOError:
            return False
        except (OSError, ValueError):  # nothing can be read or said any more
            traceback.print_exc()
            os._exit(1)
        if received is None:
            self._in_loop(self._over.set)
            return False
        frames, fd = received
        for message in frames:
            self._hear(message, fd)
        return True

    def _hear(self, message: Frame, fd: int | None) -> None:
        kind, number, _, body = message
        if kind == Kind.CALL:
            work = Work(number, body, fd)
            with self._lock:
                self._line.append(work)
        elif kind == Kind.CANCEL:
            self._in_loop(self._cancel, number)
        elif kind == Kind.RECALL:
            with self._lock:
                line, self._line = self._line, deque()
            self._give_back(list(line))
        elif kind == Kind.READ:
            self._files.give_back(*self._results.pop(number))
        elif kind == Kind.CLOSE:
            self._in_loop(self._over.set)

    def _give_back(self, works: list[Work]) -> None:
        for work in works:
            if work.fd is not None:
                os.close(work.fd)
        if works:
            self._send(frame(Kind.RETURNED, body=pickle.dumps([work.number for work in works])))

    # -- step 2: by any thread -----------------------------------------------------------------------------------------

    def _next(self) -> Work | None:
        """The next function for a thread, where there is a place. Effects before it begin in the loop."""
        while True:
            with self._lock:
                if not self._line or len(self._at_work) >= self._places:
                    return None
                work = self._line.popleft()
                self._at_work[work.number] = work
                _PAGE.pack_into(self._page, 0, work.number)
            work.remote = known(work.module, work.qualname)
            if work.remote is None or work.remote.plain or work.remote.version != work.version:
                return work
            self._in_loop(self._begin, work)

    def _is_for_thread(self, work: Work) -> bool:
        """Finds its function, where no thread waits for this one: that may import a module."""
        try:
            if work.remote is None or work.remote.version != work.version:
                work.find()
        except BaseException as error:
            self._end(work)
            self._send(frame(Kind.ERROR, work.number, packed_error(error)))
            return False
        assert work.remote is not None
        if not work.remote.plain:
            self._in_loop(self._begin, work)
            return False
        with self._lock:
            work.function = Stoppable(work.remote.fn)
            if work.asked:
                work.function.stop()
        return True

    def _end(self, work: Work) -> None:
        """Its place is free."""
        with self._lock:
            self._at_work.pop(work.number, None)
        self._last, self._trimmed = time.monotonic(), False

    def _begin(self, work: Work) -> None:
        work.task = self._loop.create_task(self._as_effect(work), context=self._context.copy())

    # -- threads -------------------------------------------------------------------------------------------------------

    def _add_thread(self, work: Work | None = None) -> None:
        with self._lock:
            self._threads += 1
        threading.Thread(target=self._live, args=(work,), name="mountain-worker", daemon=True).start()

    def _live(self, work: Work | None) -> None:
        """Reads until there is a function for it, and then lets another thread read."""
        while True:
            if work is None:
                with self._lock:
                    if self._idle and self._threads > self._places:
                        self._threads -= 1
                        return
                    self._idle += 1
                with self._reading:
                    while (work := self._next()) is None:
                        if not self._receive(wait=True):
                            return
                with self._lock:
                    self._idle -= 1
                    more = self._idle == 0 and self._threads < self._places
                if more:
                    self._add_thread()
            self._run_all(work)
            work = None

    def _run_all(self, work: Work | None) -> None:
        """Runs a function, and those that are next. Answers of short calls go together."""
        answers: list[bytes] = []
        size, since = 0, 0.0
        while work is not None:
            if work.remote is None:
                self._flush(answers)
            if not self._is_for_thread(work):
                work = self._next()
                continue
            answer, fd = self._run(work)
            self._end(work)
            work = self._next()
            if fd is not None:
                self._flush(answers)
                self._send(answer, fd)
                continue
            if not answers:
                size, since = 0, time.monotonic()
            elif size + len(answer) > FRAMES:
                self._flush(answers)
                size = 0
            answers.append(answer)
            size += len(answer)
            if work is None or time.monotonic() - since > _TOGETHER:
                self._flush(answers)
        self._flush(answers)

    def _flush(self, answers: list[bytes]) -> None:
        if answers:
            self._send(b"".join(answers))
            answers.clear()

    def _run(self, work: Work) -> tuple[bytes, int | None]:
        """Runs a function, and gives its answer."""
        assert work.remote is not None
        assert work.function is not None
        began = time.perf_counter()
        try:
            args, kwargs = work.take()
            if work.meta is None:
                value = self._context.copy().run(work.function, *args, **kwargs)
            else:
                value = self._context.copy().run(call, work, self, args, kwargs)
            self._ends_fork()
            return self._value(work, value, began)
        except EXITS as error:
            self._exits(work, error)
        except BaseException as error:
            self._ends_fork(error)
            return frame(Kind.ERROR, work.number, packed_error(error), took(began)), None

    # -- in the loop -------------------------------------------------------------------------------------------------

    async def _as_effect(self, work: Work) -> None:
        assert work.remote is not None
        begun: list[Stoppable] = []
        begun_here.set(begun)
        began = time.perf_counter()
        watcher = None
        if work.remote.threads:
            watcher = self._loop.create_task(watch(begun, lambda: self._say_stuck(work)))
        fd = None
        work.began = True
        try:
            if work.asked:
                raise asyncio.CancelledError
            args, kwargs = work.take()
            enter(work.meta, work.remote.name, self)
            value = await work.remote.inner(*args, **kwargs)
            self._ends_fork()
            answer, fd = self._value(work, value, began)
        except EXITS as error:
            self._exits(work, error)
        except BaseException as error:
            self._ends_fork(error)
            answer = frame(Kind.ERROR, work.number, packed_error(error), took(began))
        if watcher is not None:
            watcher.cancel()
            if not await came_back(begun):
                answer = frame(Kind.STUCK, work.number, work.remote.name.encode()) + answer
        self._end(work)
        self._send(answer, fd)
        if (following := self._next()) is not None:
            self._add_thread(following)

    def _say_stuck(self, work: Work) -> None:
        assert work.remote is not None
        self._send(frame(Kind.STUCK, work.number, work.remote.name.encode()))

    # -- steps 3 to 5 ------------------------------------------------------------------------------------------------

    def _value(self, work: Work, value: object, began: float) -> tuple[bytes, int | None]:
        try:
            packed = pack(value, value)
            fd = self._files.write(packed) if packed.large else None
            if fd is not None:
                self._results[work.number] = fd, packed
        except Exception as error:
            name = work.remote.name if work.remote is not None else work.qualname
            wrong = pickle.PicklingError(f"the result of {name} cannot be pickled: {error}. The function has run")
            return frame(Kind.ERROR, work.number, packed_error(wrong), took(began)), None
        return frame(Kind.VALUE, work.number, packed.body, took(began)), fd

    def _cancel(self, number: int) -> None:
        with self._lock:
            work = next((work for work in self._line if work.number == number), None)
            if work is not None:
                self._line.remove(work)
            else:
                work = self._at_work.get(number)
                if work is None:
                    return  # its answer is on its way
                if work.function is not None:
                    work.function.stop()
                    return
                if work.task is None:  # it looks for the function
                    work.asked = True
                    return
                self._send(frame(Kind.STOPPING, number))
                if work.began:
                    work.task.cancel()
                else:  # a task that is cancelled before its first step would answer nothing
                    work.asked = True
                return
        self._give_back([work])

    def _exits(self, work: Work, error: BaseException) -> NoReturn:
        """The function ends this process, as it would a program."""
        if os.getpid() == self._pid:
            self._send(frame(Kind.EXITS, work.number, f"it ended by {type(error).__name__}: {error}".encode()[:4096]))
        code = error.code if isinstance(error, SystemExit) else 1
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)

    def _after_fork(self) -> None:
        """In a child that a function has forked: the connection is its parent's."""
        self._link.end.close()

    def _ends_fork(self, error: BaseException | None = None) -> None:
        """A child that a function has forked ends with the function, as a program does."""
        if os.getpid() != self._pid:
            with contextlib.suppress(Exception):
                if error is not None:
                    traceback.print_exception(error)
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(error is not None)

    def _look(self) -> None:
        """Reads where every thread is at work. Gives memory back when no call has come for a while."""
        now = time.monotonic()
        idle = now - self._last
        self.counts.look(now)
        if self._reading.acquire(blocking=False):
            try:
                while self._receive(wait=False):
                    pass
            finally:
                self._reading.release()
            if (work := self._next()) is not None:
                self._add_thread(work)
        elif not self._trimmed and not self._at_work and idle > _IDLE:
            self._trimmed = True
            self._files.forget(all=True)
            with contextlib.suppress(AttributeError, OSError):
                ctypes.CDLL(None).malloc_trim(0)
        self._loop.call_later(_POLL if idle < _IDLE else _POLL * 10, self._look)
