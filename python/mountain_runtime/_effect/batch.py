"""`batch`: calls of one item each, collected and made as one call of a list.

1. The first call opens a batch of its loop, and a later call joins it, until it has `size` items or `wait` is over.
2. The batch begins: a task of its own calls the function, under the policies, in a copy of the first caller's context
   and under the latest deadline of its items.
3. Each caller gets its own result. A caller that leaves before step 2 takes its item out; later, its result is dropped.
4. The last caller that leaves cancels the task, and waits for its cleanup.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any, Protocol, TypeVar, cast
from weakref import ref

from .._native import (
    Effect,
    InheritedDeadline,
    current_deadline,
    current_permit_context,
    deadline_var,
)
from .._tasks.exits import EXITS
from .._tasks.outlast import outlast
from ..errors import ConfigError
from ..policy._arguments import check_name
from ..policy._base import Policy, flatten, name_of
from ..policy._functions import takes_one
from ..policy._numbers import Seconds, count, seconds
from ..policy.cache import Cache
from ..telemetry import _otel
from . import children as _children
from .effect import effect
from .kinds import check_async

__all__ = ["BatchDecorator", "batch"]

A = TypeVar("A")
T = TypeVar("T")

#: Beyond this, some 30 years, a wait has no end: event loops differ in what they do with it.
_ENDLESS = 1e9


class BatchDecorator(Protocol):
    """`batch(...)` with its policies, before it has its function."""

    def __call__(self, fn: Callable[[list[A]], Awaitable[Sequence[T | Exception]]], /) -> Callable[[A], Effect[T]]: ...


def batch(size: int, /, *policies: Policy[Sequence[Any]], wait: Seconds = 0, name: str | None = None) -> BatchDecorator:
    """Makes a coroutine function of a list give effects of one item each, which are collected and run as one call.

    A batch begins with `size` items, or `wait` seconds after its first one; 0 is the loop's next turn. Each event loop
    has batches of its own. The function gives a result for each item, in their order; an exception among them is raised
    by that item's call alone, any other failure by all. Equal items are not merged.

    `policies`, outermost first, stand around the call of the list, once a batch; `load(7).under(...)` puts others
    around one caller's wait. A caller that is cancelled takes its item out, or lets its result go; when all are, the
    batch is cancelled, and the last one waits for its cleanup. The batch runs in a copy of the context of the caller
    that opened it, and under the latest deadline of its items.

    `name` is what errors, statistics and reports call it, and the call of the list with ` (batch)` after it; by default
    the function's own. A ConfigError for a size below 1, a negative wait, a Cache, or a function that is not async or
    does not take one list.
    """
    count(size, "batch", "size")
    longest = seconds(wait, "batch", "wait")
    check_name(name, "batch")
    for policy in flatten(policies, name or "a batch"):
        if isinstance(policy, Cache):
            raise ConfigError(
                f"{policy!r} around a batch would keep whole lists, of which hardly two are the same: put it around "
                "the call of one item, as in load(7).under(cache)"
            )

    def decorate(fn: Any, /) -> Any:
        if isinstance(fn, staticmethod):
            return staticmethod(decorate(cast("Any", fn).__func__))
        called = name or name_of(fn)
        _check(fn, called)
        return _batched(fn, _Batches(effect(*policies, name=f"{called} (batch)")(_of_list(fn)), size, longest), called)

    return cast("BatchDecorator", decorate)


def _check(fn: object, name: str) -> None:
    if not callable(fn):
        raise ConfigError(f"{fn!r} is no function: write @batch(size, *policies) above one")
    check_async(fn, "batch")
    if not takes_one(fn):
        raise ConfigError(
            f"@batch on {name}, which cannot be called with one list alone. Of a method, batch what an object "
            "has bound: `self.load = batch(50)(self._load)`",
            effect=name,
        )


def _of_list(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`fn`, which is given a list of its own at each attempt."""

    @functools.wraps(fn, updated=())
    async def call(items: list[Any], /, **services: Any) -> Any:
        _otel.link_callers()
        return await fn([*items], **services)

    return call


def _batched(fn: Any, batches: "_Batches", name: str) -> Any:
    """The effect function of one item."""

    async def one(item: Any, /) -> Any:
        batch = batches.open()
        future = batch.join(item)
        try:
            return await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                future.exception()  # seen: after a cancel, which is raised in its place, it is not to be reported
            elif (ending := batch.leave(future)) is not None and not isinstance(error, GeneratorExit):
                await outlast((ending,), asked=True)
            raise

    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(one, attribute, getattr(fn, attribute, name if attribute.endswith("name__") else None))
    return effect(name=name)(one)


class _Batches:
    """The batches of one function: of each loop at most one is open."""

    def __init__(self, call: Callable[[list[Any]], Effect[Sequence[Any]]], size: int, wait: float) -> None:
        self.call = call
        self.size = size
        self.wait = wait
        #: By the loop's id. The loop's own timer and the callers hold a batch: a loop that is dropped can be collected.
        self.opened: dict[int, ref[_Batch]] = {}

    def open(self) -> "_Batch":
        """The batch of the running loop that collects."""
        loop = asyncio.get_running_loop()
        known = self.opened.get(id(loop))
        found = None if known is None else known()
        if found is None:
            found, key, opened = _Batch(self, loop), id(loop), self.opened
            opened[key] = ref(found, lambda _: opened.pop(key, None))
        return found


class _Batch:
    """One batch, from its first item to its last result."""

    def __init__(self, of: _Batches, loop: asyncio.AbstractEventLoop) -> None:
        self._of = of
        self._loop = loop
        #: The items by the futures of those who wait for them, in their order.
        self._items: dict[asyncio.Future[Any], Any] = {}
        #: The deadlines of those that have one.
        self._limits: dict[asyncio.Future[Any], InheritedDeadline] = {}
        self._task: asyncio.Task[None] | None = None
        self._context = copy_context()
        self._permit_context = current_permit_context()
        self._spans = _otel.callers()
        self._timer: asyncio.Handle | None = None
        if not of.wait:
            self._timer = loop.call_soon(self._begin)
        elif of.wait <= _ENDLESS:
            self._timer = loop.call_later(of.wait, self._begin)

    def join(self, item: Any) -> "asyncio.Future[Any]":
        """One more item, before the batch has begun, and the future of its result."""
        future = self._loop.create_future()
        self._items[future] = item
        if (limit := current_deadline()) is not None:
            self._limits[future] = limit
        if self._spans is not None:
            _otel.add_caller(self._spans)
        if len(self._items) >= self._of.size:
            self._begin()
        return future

    def leave(self, future: "asyncio.Future[Any]") -> "asyncio.Task[None] | None":
        """Forgets a caller. Gives the task, which is cancelled, if that was the last one."""
        self._limits.pop(future, None)
        if self._items.pop(future, self) is self or self._items:
            return None
        if self._task is None:
            self._close()
        elif not self._task.done():
            with contextlib.suppress(RuntimeError):  # its loop is closed, and the task with it
                self._task.cancel()
        return self._task

    def _close(self) -> None:
        """It takes no more items."""
        if self._timer is not None:
            self._timer.cancel()
        known = self._of.opened.get(id(self._loop))
        if known is not None and known() is self:
            del self._of.opened[id(self._loop)]

    def _begin(self) -> None:
        self._close()
        for future in [each for each in self._items if each.done()]:  # cancelled in this turn, and not yet left
            self.leave(future)
        if not self._items:
            return
        limits = self._limits.values()
        latest = max(limits, key=InheritedDeadline.remaining) if len(limits) == len(self._items) else None
        self._context.run(deadline_var.set, latest)
        if self._spans:
            self._context.run(_otel.set_callers, self._spans)
        work = self._run([*self._items], [*self._items.values()])
        self._task = self._loop.create_task(work, context=self._context)

    async def _run(self, futures: "list[asyncio.Future[Any]]", items: list[Any]) -> None:
        try:
            work: Awaitable[Sequence[Any]] = self._of.call(items)
            if self._permit_context is None:
                values = await work
            else:
                values = await _children.bound(_awaited, work, self._permit_context.here())
            _check_values(values, len(items), work)
        except GeneratorExit:
            if not self._loop.is_closed():  # else the task is thrown away, and its callers with it
                for future in futures:
                    future.cancel()
            raise
        except BaseException as error:
            waiting = bool(self._items)
            for future in futures:
                _fail(future, error)
            if isinstance(error, asyncio.CancelledError) or (isinstance(error, EXITS) and not waiting):
                raise
        else:
            for future, value in zip(futures, values, strict=True):
                if isinstance(value, BaseException):
                    _fail(future, value)
                elif not future.done():
                    future.set_result(value)
        finally:
            self._items.clear()
            del futures  # an error's traceback holds this frame


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        # In the coroutine that waits for it, either would mean something else (PEP 479).
        wrong = RuntimeError(f"a batch gave {type(error).__name__} as the failure of an item")
        wrong.__cause__ = error
        error = wrong
    future.set_exception(error)


def _check_values(values: object, items: int, work: Any) -> None:
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray)):
        raise TypeError(
            f"{work.__name__} must give a list with a result for each of its {items} items, and gave "
            f"{'None' if values is None else f'a {type(values).__name__}'}"
        )
    if (found := len(cast("Sequence[object]", values))) != items:
        raise ValueError(
            f"{work.__name__} gave {found} results for {items} items: it must give one for each, in their order"
        )
