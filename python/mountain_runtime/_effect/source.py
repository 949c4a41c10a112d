"""An async source of items, driven as `async for` would: pulled and closed in one task and one context.

The scopes that a generator opens around its `yield` are closed in the same task: `asyncio.timeout`, anyio's, variables.

1. Each pull wakes the task, which takes the next item. Between two pulls it waits for the next one.
2. A cancel that reaches it in that wait is the generator's own, as of a timeout in it: it is raised at the `yield`, and
   what the generator makes of it is the answer to the next pull.
3. To end it, a pull under way is cancelled; then the generator is closed.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar, cast

from .._native import Items
from .._tasks.exits import is_close

__all__ = ["Source"]

A = TypeVar("A")


class Source(Generic[A]):
    """One pull at a time."""

    __slots__ = ("_at_work", "_early", "_ending", "_items", "_pull", "_task", "_waiting")

    def __init__(self, items: AsyncIterator[A]) -> None:
        self._items = items
        self._task: asyncio.Task[None] | None = None
        self._pull: asyncio.Future[A] | None = None
        #: The answer to the next pull, if it came first.
        self._early: asyncio.Future[A] | None = None
        self._waiting: asyncio.Future[None] | None = None
        #: Code of the source's own runs.
        self._at_work = False
        self._ending = False

    def pull(self, context: Context) -> "asyncio.Future[A]":
        """The next item, or what the source raised. `context` is that of all pulls."""
        loop = asyncio.get_running_loop()
        if (early := self._early) is not None:
            self._early = None
            return early
        self._pull = pull = loop.create_future()
        if self._task is None:
            self._task = loop.create_task(self._drive(), name="amap source", context=context)
            self._task.add_done_callback(self._gone)
        self._wake()
        return pull

    def end(self) -> "asyncio.Task[None] | None":
        """Step 3: the task in which it ends, with what its close raised. None: nothing has begun."""
        if not self._ending and self._task is not None:
            self._ending = True
            for pull in (self._pull, self._early):
                if pull is not None and not pull.cancel() and not pull.cancelled():
                    pull.exception()  # seen, if it is not to be handed out
            if self._at_work:
                self._task.cancel()
            self._wake()
        return self._task

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _drive(self) -> None:
        self._task = asyncio.current_task()  # an eager task's first step comes before it is known
        try:
            while not self._ending:
                if self._pull is None or self._pull.done():
                    await self._wait()
                else:
                    await self._answer(self._pull, self._next())
        finally:
            if isinstance(self._items, (AsyncGenerator, Items)) and not isinstance(sys.exception(), GeneratorExit):
                await cast("AsyncGenerator[A, None]", self._items).aclose()

    def _gone(self, _task: "asyncio.Task[None]") -> None:
        """A task that was cancelled before its first step has answered nothing."""
        if self._pull is not None and not self._pull.done():
            self._pull.set_exception(asyncio.CancelledError())

    async def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        except asyncio.CancelledError as error:
            pull = self._pull
            if pull is None or pull.done():
                if self._early is not None:
                    return  # it has had one, and went on
                pull = self._early = asyncio.get_running_loop().create_future()
            await self._answer(pull, self._thrown(error))
        finally:
            self._waiting = None

    async def _next(self) -> A:
        return await anext(self._items)

    async def _thrown(self, error: asyncio.CancelledError) -> A:
        if not isinstance(self._items, AsyncGenerator):
            raise error
        return await cast("AsyncGenerator[A, None]", self._items).athrow(error)

    async def _answer(self, pull: "asyncio.Future[A]", item: Coroutine[Any, Any, A]) -> None:
        self._at_work = True
        try:
            found = await item
        except BaseException as error:
            if is_close(error, self._task):
                raise
            if not pull.done():
                pull.set_exception(error)
        else:
            if not pull.done():
                pull.set_result(found)
        finally:
            self._at_work = False
