"""Threads for blocking functions: daemon threads that pull jobs, so that a stuck one keeps no program from ending."""

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .._native import Job, Jobs, Scope
from .._tasks import scope as _scope
from ..errors import ShuttingDown

if TYPE_CHECKING:
    from .._native import Handle

__all__ = ["Pool", "default_pool", "start"]


class Pool:
    """At most `size` threads, each started when it is first needed; the most urgent job is next."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._jobs: Jobs[tuple[Job, Scope | None]] = Jobs()
        #: One for each job: True; for each thread that is to end: False.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._grow = threading.Lock()
        self._threads = 0
        #: The job of each thread that has one, by the thread's id, with its runtime, and when it began.
        self._running: dict[int, tuple[str, Scope | None, float]] = {}

    def submit(self, job: Job, scope: Scope | None) -> None:
        """Hands a job to an idle thread, a new one, or the next that is free."""
        if not self._idle.acquire(blocking=False):
            self._add_thread()
        self._jobs.put((job, scope))
        self._calls.put(True)

    def _add_thread(self) -> None:
        with self._grow:
            if self._threads >= self.size:
                return
            name = f"mountain-blocking-{self._threads}"
            thread = threading.Thread(
                target=_work, args=(self._calls, self._jobs, self._idle, self._running), name=name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:  # with others there, the job waits for one of them
                    raise
            else:
                self._threads += 1

    def running(self, scope: object) -> list[tuple[int, str]]:
        """The jobs of `scope` that are on a thread now: the thread's number and the job's name."""
        return [(ident, name) for ident, (name, owner, _) in self._running.copy().items() if owner is scope]

    def all_running(self) -> list[tuple[int, str, float]]:
        """The jobs of all runtimes that are on a thread now, with their ages in seconds."""
        now = time.monotonic()
        return [(ident, name, now - begun) for ident, (name, _, begun) in self._running.copy().items()]

    def refuse(self, scope: object) -> bool:
        """Fails the jobs of `scope` that no thread has begun; says whether there were any."""
        refused = False
        for priority, queued in self._jobs.take_all():
            job, owner = queued
            if owner is not scope:
                self._jobs.put(queued, priority)
            elif job.begin():
                refused = True
                job.fail(ShuttingDown(f"effect '{job.name}' was not started: its runtime shuts down", effect=job.name))
        return refused

    def close(self) -> None:
        """Lets every thread end after what it does now."""
        for _ in range(self._threads):
            self._calls.put(False)


def _work(
    calls: "SimpleQueue[bool]",
    jobs: "Jobs[tuple[Job, Scope | None]]",
    idle: threading.Semaphore,
    running: dict[int, tuple[str, Scope | None, float]],
) -> None:
    """A thread's life. It holds no job while it waits for the next one, so that what a job refers to can go."""
    me = threading.get_ident()
    while calls.get():
        taken = jobs.take()
        if taken is None:  # it was refused
            idle.release()
            continue
        job, scope = taken
        del taken
        running[me] = (job.name, scope, time.monotonic())
        del scope
        answer = _call(job)
        running.pop(me, None)
        idle.release()  # before the answer: a caller that gets it and calls again finds this thread free
        if answer is not None:
            post, value = answer
            post(value)
            del post, value
        del job, answer


def _call(job: Job) -> tuple[Callable[[Any], None], Any] | None:
    """Runs a job; gives the method that ends it, and its argument."""
    try:
        if not job.begin():
            return None
        return job.succeed, job.context.run(job.fn, *job.args, **job.kwargs)
    except (StopIteration, StopAsyncIteration) as error:
        # In the coroutine that waits for it, either would mean something else (PEP 479).
        wrong = RuntimeError(f"{job.name} raised {type(error).__name__}")
        wrong.__cause__ = error
        return job.fail, wrong
    except BaseException as error:
        return job.fail, error
    finally:
        del job  # an error's traceback holds this frame


_pools: WeakSet[Pool] = WeakSet()
_default: Pool | None = None
_default_lock = threading.Lock()


def default_pool() -> Pool:
    """The pool of runtimes that have none of their own: one a process."""
    global _default
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = Pool(min(32, (os.cpu_count() or 1) + 4))
    return _default


def start(name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Handle[Any]":
    """Calls `fn` on a thread of the current runtime's pool; the handle is for the current loop."""
    scope = _scope.current()
    pool: Pool = getattr(scope, "_pool", None) or default_pool()
    job = Job(fn, args, kwargs, name)
    pool.submit(job, scope)
    return job.handle


def after_fork() -> None:
    """In the child no thread is left, and the locks may be held for ever."""
    global _default_lock
    _default_lock = threading.Lock()
    for pool in list(_pools):
        pool._reset()
