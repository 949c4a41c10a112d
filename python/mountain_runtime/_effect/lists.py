"""The lists that `chunked` makes of a source: by size alone in the reader's task, by size and time in one of its own.

The source's task pulls on while a list goes out, and waits when the next one is full. It follows the rules of `Source`:
one task and one context for pulls and close, and a cancel that comes while it waits is raised at the source's `yield`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from math import inf
from typing import Generic, TypeVar, cast

from .._native import Items
from .._tasks.exits import EXITS, is_close
from . import children as _children

__all__ = ["Lists", "TimedLists"]

A = TypeVar("A")


class Lists(Generic[A]):
    """An iterator of lists of `size` items; the last one, and the one before an error, may have fewer.

    The stream around it sees to it that one task pulls at a time, and that no pull follows an error or the end.
    """

    #: To the engine: a pull that is cancelled is no end of the stream.
    _outlives_cancels = True

    def __init__(self, source: AsyncIterator[A], size: int) -> None:
        self._source = source
        self._size = size
        #: Collected for the next list. A pull that is cancelled leaves them here.
        self._items: list[A] = []
        self._ended = False
        self._error: BaseException | None = None

    def __aiter__(self) -> AsyncIterator[list[A]]:
        return self

    async def __anext__(self) -> list[A]:
        items, size = self._items, self._size
        if not self._ended:
            try:
                async for item in self._source:
                    items.append(item)
                    if len(items) == size:
                        return self._take()
            except Exception as error:
                self._error = error
            self._ended = True
        return self._take_last()

    def _take(self) -> list[A]:
        items, self._items = self._items, []
        return items

    def _take_last(self) -> list[A]:
        """The items that are left, then the source's error, then the end."""
        if self._items:
            return self._take()
        if (error := self._error) is None:
            raise StopAsyncIteration
        self._error = None
        try:
            raise error
        finally:
            del error

    async def _close_source(self) -> None:
        if isinstance(self._source, (AsyncGenerator, Items)):
            await cast("AsyncGenerator[A, None]", self._source).aclose()

    async def aclose(self) -> None:
        """Closes the source."""
        self._ended = True
        await self._close_source()


class TimedLists(Lists[A]):
    """Lists that also go out `within` seconds after their first item."""

    def __init__(self, source: AsyncIterator[A], size: int, within: float) -> None:
        super().__init__(source, size)
        self._within = within
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        #: When the list must go out, once it has an item.
        self._due = 0.0
        #: For a list that the reader waits for. It is not cancelled with that list: lists become due in their order.
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.Future[None] | None = None
        #: Of the source's task, which waits for a full list to be taken.
        self._room: asyncio.Future[None] | None = None
        self._ending = False

    async def __anext__(self) -> list[A]:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("chunked(within=) is pulled on the loop on which it was opened")
        if self._task is None:
            self._task = self._loop.create_task(self._drive(), name="chunked source")
            self._task.add_done_callback(self._gone)
        while not self._ended:
            if self._items and (len(self._items) >= self._size or self._loop.time() >= self._due):
                return self._take()
            self._set_timer()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._take_last()

    def _take(self) -> list[A]:
        items = self._items
        #: More than `size` there are where the source made an item of a cancel, while its task waited.
        self._items = items[self._size :]
        if self._items:
            del items[self._size :]
            self._due = self._loop.time() + self._within
        _wake(self._room)
        return items

    # -- the time -----------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        if self._timer is None and self._items:
            self._timer = self._loop.call_at(self._due, self._on_time, self._due)

    def _on_time(self, at: float) -> None:
        self._timer = None
        if self._reader is not None:
            if self._items and self._due <= at:
                self._due = -inf  # a loop's timers may be early, by as little as their clock tells apart
                _wake(self._reader)
            else:
                self._set_timer()

    # -- the source's task --------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        self._task = asyncio.current_task()  # an eager task's first step comes before it is known
        try:
            async for item in self._source:
                self._items.append(item)
                if len(self._items) == 1:
                    self._due = self._loop.time() + self._within
                    if self._reader is not None:
                        self._set_timer()
                while len(self._items) >= self._size and not self._ending:
                    await self._until_taken()
                if self._ending:
                    break
        except StopAsyncIteration:
            pass  # raised by a source that a cancel was raised in
        except BaseException as error:
            if is_close(error, self._task):
                raise
            self._error = error
        await self._close()

    def _gone(self, _task: "asyncio.Task[None]") -> None:
        """A task that was cancelled before its first step has said nothing."""
        if not self._ended:
            self._error = asyncio.CancelledError()
            self._ended = True
            _wake(self._reader)

    async def _close(self) -> None:
        try:
            await self._close_source()
        finally:
            self._ended = True
            _wake(self._reader)

    async def _until_taken(self) -> None:
        _wake(self._reader)
        self._room = self._loop.create_future()
        try:
            await self._room
        except asyncio.CancelledError as error:
            if not isinstance(self._source, AsyncGenerator):
                raise
            self._room = None  # the source is at work
            self._items.append(await cast("AsyncGenerator[A, None]", self._source).athrow(error))
        finally:
            self._room = None

    async def aclose(self) -> None:
        """Ends the source's task, its cleanup awaited."""
        self._ended = self._ending = True
        known = self._error
        if self._timer is not None:
            self._timer.cancel()
        if (task := self._task) is None:
            return await super().aclose()
        if asyncio._get_running_loop() not in {None, self._loop}:
            return None  # its task does not end here: in a forked child, or beside a loop that is stopped
        with contextlib.suppress(RuntimeError):  # its loop is closed or gone, and it with that
            if self._room is not None:
                _wake(self._room)
            else:
                task.cancel()
        await _children.end([], ending=task)
        if task.done() and not task.cancelled():
            task.result()
        error = self._error
        if isinstance(error, EXITS) or (error is not known and not isinstance(error, asyncio.CancelledError)):
            self._take_last()
        return None


def _wake(waits: "asyncio.Future[None] | None") -> None:
    if waits is not None and not waits.done():
        waits.set_result(None)
