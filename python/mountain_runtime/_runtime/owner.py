"""The tasks that a runtime owns: those of submitted work, and those of its services and deferred functions."""

import asyncio
import functools
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any, NoReturn, Protocol, TypeVar

from .._effect import children as _children
from .._effect import threads as _threads
from .._native import PermitContext, Scope, Slot, accepted_var, deadline_var, scope_var, serving_var
from .._tasks.dump import Dump, take
from .._tasks.exits import EXITS, Exit, carried, closing
from .._tasks.flag import Flag
from .._tasks.users_errors import written
from ..policy._forks import note
from ..policy._numbers import count
from ..policy.concurrency import places

__all__ = ["Owner"]

T = TypeVar("T")


class Closes(Protocol):
    """A pool of workers."""

    name: str

    async def _close(self, seconds: float) -> list[str]: ...


class Owner(Scope):
    """Begins tasks in contexts that name it, and keeps them until they end."""

    def __init__(self, workers: int | None, threads: int | None, max_in_flight: int | None) -> None:
        if workers is not None:
            count(workers, "Runtime", "workers")
        if max_in_flight is not None:
            max_in_flight = places(max_in_flight, "Runtime", "max_in_flight")
            note(self)
        self._setup(workers, max_in_flight)
        #: Threads of its own for blocking functions, if it has any.
        self._own_threads = None if threads is None else _threads.Pool(count(threads, "Runtime", "threads"))
        #: The pools of workers that were started here, which it closes.
        self._pools: list[Closes] = []
        #: Set when it drains: it takes no more work of others.
        self._drains = Flag()
        #: The loop on which it was entered, and the id of that loop's thread.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None

    @property
    def _pool(self) -> _threads.Pool:
        """The threads on which blocking functions run here."""
        return self._own_threads or _threads.default_pool()

    def _pending(self) -> "list[asyncio.Future[Any]]":
        """The submitted work that has not ended, and run's main."""
        owned: list[Any] = self._in_flight()
        return [work for work in owned if not work.done()]

    def _dump_now(self) -> Dump:
        """The work under way. From the loop's own thread it is exact."""
        own = self._thread == threading.get_ident()
        return self._dump_from(None if own or self._thread is None else sys._current_frames().get(self._thread))

    def _dump_from(self, at_work: FrameType | None) -> Dump:
        """The same from outside of the loop's thread, whose innermost frame is `at_work`."""
        return take(self._loop, at_work, self._in_flight(), self._pool.all_running())

    def _refuse(self, effect: object, verb: str) -> NoReturn:
        """Closes an effect that the method `verb` does not start, and raises why."""
        close: Callable[[], None] | None = getattr(effect, "close", None)
        if close is not None:
            close()
        raise self._refusal(getattr(effect, "__name__", ""), verb)

    def _exits(self, error: BaseException) -> None:
        """Work of its own raised `error`, one of `EXITS`, which goes through the event loop at once."""
        raise error

    # -- what is submitted ------------------------------------------------------------------------------------------

    def _spawn(  # pyright: ignore[reportUnusedFunction] - called by submit, natively
        self,
        effect: Awaitable[T],
        name: str | None,
        permit_context: PermitContext | None = None,
        slot: Slot | None = None,
    ) -> "asyncio.Task[T]":
        """A task for a submitted effect. `permit_context` has the permits that its submitter holds, `slot` its own."""
        run = self._owned if slot is None else functools.partial(_in_slot, slot, self._owned)
        return self._task(
            run(effect) if permit_context is None else _children.bound(run, effect, permit_context), effect, name
        )

    def _start(self, effect: Awaitable[T], name: str | None) -> "asyncio.Task[T]":
        """A task without a handle, for run's main."""
        task = self._task(self._owned(effect), effect, name)
        self._own(task)
        return task

    def _task(self, work: Coroutine[Any, Any, T], effect: Awaitable[T], name: str | None) -> "asyncio.Task[T]":
        """A task in the caller's context, without its deadline. An exit cancels the task."""
        context = copy_context()
        context.run(self._accept)
        name = name or getattr(effect, "__name__", None)
        return asyncio.create_task(work, name=name, context=context)

    async def _owned(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except EXITS as error:
            self._exits(error)
            raise asyncio.CancelledError(f"it raised {written(error)}") from None

    # -- what serves it ---------------------------------------------------------------------------------------------

    def _spawn_service(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return self._begin(work, name, self._serve)

    def _begin(self, work: Coroutine[Any, Any, None], name: str, enter: Callable[[], None]) -> "asyncio.Task[None]":
        """A task for a service or a deferred function, which may await effects until it has ended."""
        context = copy_context()
        context.run(enter)
        task = asyncio.create_task(self._exiting(work), name=name, context=context)
        return closing(task, work)

    async def _exiting(self, work: Coroutine[Any, Any, None]) -> None:
        """Awaits `work`, whose exit ends the program."""
        try:
            await carried(work)
        except Exit as exit:  # noqa: A001
            self._exits(exit.of)
            raise

    def _accept(self) -> None:
        """In a new context: its code is accepted work."""
        scope_var.set(self)
        accepted_var.set(self)
        deadline_var.set(None)

    def _serve(self) -> None:
        """In a new context: its code is a service's."""
        self._accept()
        accepted_var.set(None)
        serving_var.set(self)


async def _in_slot(slot: Slot, run: Callable[[Awaitable[T]], Awaitable[T]], effect: Awaitable[T]) -> T:
    """`run(effect)`, when the runtime has a place for it."""
    async with slot:
        return await run(effect)
