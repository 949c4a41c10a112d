"""The block of `amap` and the iterator of its results."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sized
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast

from .._native import InheritedDeadline, Stream, current_deadline
from .._tasks import scope as _scope
from .._tasks.exits import error_of, result_of
from ..errors import ShuttingDown
from ..policy._base import name_of
from . import children as _children
from .misused import AsyncBlockOnly, not_one_value
from .source import Source
from .work import Work

__all__ = ["Results"]

A = TypeVar("A")
T = TypeVar("T")


class Results(
    AsyncBlockOnly, AbstractAsyncContextManager[AsyncIterator[tuple[A, T]]], AsyncIterator[tuple[A, T]], Generic[A, T]
):
    _block = "amap(function, items, limit=n) as results"

    def __init__(
        self,
        fn: Callable[[A], Awaitable[T]],
        items: object,
        source: Iterator[A] | None,
        asource: AsyncIterator[A] | None,
        limit: int,
        ordered: bool,
    ) -> None:
        self._fn = fn
        #: As they were given. `source` and `asource` pull from them, of a `Work` neither.
        self._items = items
        self._work: Work[A] | None = items if isinstance(items, Work) else None
        self._source = source
        self._asource = None if asource is None else Source(asource)
        self._limit = limit
        self._ordered = ordered
        #: In flight, with their items.
        self._flying: dict[asyncio.Future[T], A] = {}
        #: To be handed out from the left: all that was started, or as they end.
        self._queue: deque[tuple[A, asyncio.Future[T]]] = deque()
        self._pull: asyncio.Future[A] | None = None
        #: In which the items come, and the function is called: what a generator of items sets holds for their work.
        self._context: Context | None = None
        self._exhausted = False
        self._failure: BaseException | None = None
        self._refused = False
        #: Whether what was added to the work begins in a turn to come.
        self._grown = False
        #: Whether the work in flight was cancelled: a second cancel would cut its cleanup short.
        self._asked = False
        self._wake: asyncio.Future[None] | None = None
        self._state = "new"
        self._over: InheritedDeadline | None = None

    if not TYPE_CHECKING:  # type checkers say by themselves that it is no plain iterable

        def __iter__(self) -> NoReturn:
            raise TypeError("the results of amap come one by one: write `async for item, result in results:`")

    # -- the block --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> AsyncIterator[tuple[A, T]]:
        if self._state != "new":
            raise RuntimeError("an amap is entered once: make another")
        if self._work is not None:
            self._work._begin(self._grew)
        self._state = "open"
        self._context = copy_context()
        self._over = current_deadline()  # asked here, since a pulled item may be started from a callback
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._state = "closed"
        try:
            await self._stop()
        finally:
            self._failure = None
            if self._work is not None:
                self._work._end()
            self._close_source()

    async def _stop(self) -> None:
        self._exhausted = True
        asked, self._asked = self._asked, True
        self._pull = None
        tasks: list[asyncio.Future[Any]] = [*self._flying, *(task for _, task in self._queue)]
        await _children.end(tasks, asked=asked, ending=self._end_source())

    def _end_source(self) -> "asyncio.Task[None] | None":
        with contextlib.suppress(RuntimeError):  # its loop is closed or gone, and it with that
            return None if self._asource is None else self._asource.end()
        return None

    def _close_source(self) -> None:
        """Raises the error of a generator's close, if there was one."""
        ended = self._end_source()
        if ended is not None and ended.done() and not ended.cancelled():
            ended.result()
        elif isinstance(self._source, Generator):
            assert self._context is not None
            self._context.run(cast("Generator[A, None, None]", self._source).close)

    # -- the iterator -----------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    def __len__(self) -> int:
        """The number of items, which tqdm asks for."""
        if not isinstance(self._items, Sized):
            raise TypeError(f"the number of items is unknown: {type(self._items).__name__} has no len()")
        return len(self._items)

    def __bool__(self) -> bool:
        return True  # as an iterator is, known how long or not

    async def __anext__(self) -> tuple[A, T]:
        if self._state != "open":
            raise RuntimeError(
                "the results of amap exist within its block only: write `async with amap(...) as results:`, and in it "
                "`async for item, result in results:`"
            )
        if self._wake is not None:
            raise RuntimeError("another task waits for the next result already")
        while True:
            self._fill()
            if (ready := self._take()) is not None:
                item, task = ready
                if self._work is not None:
                    self._work._took()
                self._fill()  # its place is free: others go on while the caller looks at it
                return item, result_of(task)
            if self._failure is not None:
                await self._stop()
                self._queue.clear()
                failure, self._failure = self._failure, None
                try:
                    raise failure
                finally:
                    del failure
            if not self._flying and self._pull is None:
                if self._refused:
                    raise ShuttingDown(
                        "amap pulled no more items: its runtime is shutting down", effect=name_of(self._fn)
                    )
                if self._work is not None:
                    self._work._end()
                raise StopAsyncIteration
            await self._until_something_happens()

    async def _until_something_happens(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        waits_for_source_only = self._pull is not None and not self._flying
        drains = getattr(_scope.current(), "_drains", None) if waits_for_source_only else None
        if drains is not None:
            drains.add(self._wake)
        try:
            await self._wake
        finally:
            if drains is not None:
                drains.discard(self._wake)
            self._wake = None
        if not waits_for_source_only or not _scope.draining() or (pull := self._pull) is None:
            return
        if pull.done():  # its callback has not run: the next wait would end at once, before it does
            assert self._context is not None
            self._context.run(self._pulled, pull)
        else:
            self._pull = None
            self._exhausted = self._refused = True
            await _children.end([], ending=self._end_source())

    def _happened(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _take(self) -> tuple[A, "asyncio.Future[T]"] | None:
        """The next result that is there, unless a failure comes first."""
        if self._queue and (task := self._queue[0][1]).done() and not _failed(task):
            return self._queue.popleft()
        return None

    # -- the items --------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Starts items while there is room."""
        while not self._exhausted and self._pull is None and self._room() and self._may_have_more():
            if _scope.draining():
                self._exhausted = self._refused = True
            else:
                assert self._context is not None
                if self._asource is not None:
                    self._pull = self._asource.pull(self._context)
                    self._pull.add_done_callback(self._pulled, context=self._context)
                else:
                    self._context.run(self._next)

    def _may_have_more(self) -> bool:
        return self._work is None or bool(self._work._left)

    def _grew(self) -> None:
        """Begins what was added in a turn of its own: `add` may be called where the function is, within `_next`."""
        if not self._grown and self._room():
            self._grown = True
            asyncio.get_running_loop().call_soon(self._fill_grown)

    def _fill_grown(self) -> None:
        self._grown = False
        self._fill()

    def _next(self) -> None:
        try:
            if self._work is not None:
                item = self._work._pull()
            else:
                assert self._source is not None
                item = next(self._source)
        except StopIteration:
            self._exhausted = True
        except Exception as error:
            self._fail(error)
        else:
            self._start(item)

    def _room(self) -> bool:
        return (len(self._queue) if self._ordered else len(self._flying) + len(self._queue)) < self._limit

    def _pulled(self, pull: "asyncio.Future[A]") -> None:
        if pull is not self._pull:
            return  # it was given up
        self._pull = None
        if isinstance(error := pull.exception(), StopAsyncIteration):
            self._exhausted = True
        elif error is not None:
            self._fail(error)
        else:
            self._start(pull.result())
            self._fill()
        self._happened()

    def _start(self, item: A) -> None:
        try:
            work = self._fn(item)
            if isinstance(given := cast("Any", work), Stream):
                raise not_one_value("amap()", given)  # pyright: ignore[reportUnknownArgumentType] - of whatever items
            if not isinstance(work, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"amap() needs a function that gives an awaitable, not {type(work).__name__}")
            task = _children.start(work, self._over)
        except Exception as error:
            self._fail(error)
            return
        self._flying[task] = item
        if self._ordered:
            self._queue.append((item, task))
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Future[T]") -> None:
        item = self._flying.pop(task)
        if self._state != "open":
            return
        if _failed(task):
            self._fail(asyncio.CancelledError() if task.cancelled() else error_of(task))
        elif not self._ordered:
            self._queue.append((item, task))
        self._happened()

    def _fail(self, error: BaseException | None) -> None:
        """The first failure stops everything at once; it is raised when the results before it have been handed out."""
        self._exhausted = True
        if self._failure is None:
            self._failure = error
            self._asked = True
            for task in list(self._flying):
                task.cancel()
            self._pull = None
            self._end_source()


def _failed(task: "asyncio.Future[Any]") -> bool:
    return task.cancelled() or task.exception() is not None
