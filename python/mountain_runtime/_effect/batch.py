"""`batch`: calls of one item each, collected and made as one call of a list.

1. The first call opens a batch of its loop, and a later call joins it, until it has `size` items or `wait` is over.
2. The batch begins: a task of its own calls the function, under the policies, in a copy of the first caller's context
   and under the latest deadline of its items.
3. Each caller gets its own result. A caller that leaves before step 2 takes its item out; later, its result is dropped.
4. The last caller that leaves cancels the task, and waits for its cleanup.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any, Protocol, TypeVar, cast, overload

from .._native import (
    Calls,
    Collector,
    Effect,
    EffectFunction,
    PermitContext,
    deadline_var,
)
from .._tasks.exits import EXITS, is_close
from ..errors import ConfigError
from ..policy._arguments import check_name
from ..policy._base import Policy, class_of, flatten, name_of, plan
from ..policy._functions import takes_one
from ..policy._given import is_call, not_a_function, shown
from ..policy._numbers import Seconds, count, seconds
from ..policy.cache import Cache
from ..telemetry import _otel
from . import children as _children
from .effect import effect
from .kinds import check_async

__all__ = ["BatchDecorator", "batch"]

A = TypeVar("A")
S = TypeVar("S")
T = TypeVar("T")

#: Beyond this, some 30 years, a wait has no end: event loops differ in what they do with it.
_ENDLESS = 1e9


class BatchDecorator(Protocol):
    """`batch(...)` with its policies, before it has its function."""

    @overload
    def __call__(self, fn: Callable[[list[A]], Awaitable[Sequence[T | Exception]]], /) -> Callable[[A], Effect[T]]: ...
    @overload
    def __call__(
        self, fn: Callable[[S, list[A]], Awaitable[Sequence[T | Exception]]], /
    ) -> Callable[[S, A], Effect[T]]: ...


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
    _check_size(size)
    longest = seconds(wait, "batch", "wait")
    check_name(name, "batch")
    for policy in flatten(policies, name or "a batch", "batch"):
        if isinstance(policy, Cache):
            raise ConfigError(
                f"{policy!r} around a batch would keep whole lists, of which hardly two are the same: put it around "
                "the call of one item, as in load(7).under(cache)"
            )

    def decorate(fn: Any, /) -> Any:
        if isinstance(fn, (staticmethod, classmethod)):
            given = cast("Any", fn)
            return given.__class__(decorate(given.__func__))
        called = name or name_of(fn)
        method = _check(fn, called)
        call = effect(*policies, name=f"{called} (batch)")(_of_list(fn, method))
        return _batched(fn, call, size, longest, called, method)

    return cast("BatchDecorator", decorate)


def _check_size(size: Any) -> None:
    if isinstance(size, Policy) or class_of(size) is not None:
        raise ConfigError(f"batch({shown(size)}): the size comes first, as in batch(50, {shown(size)})")
    if callable(size):
        raise ConfigError(f"@batch on {name_of(size)} without a size: write @batch(50), for at most 50 items at once")
    count(size, "batch", "size")


def _check(fn: Any, name: str) -> bool:
    """Whether it is a method, which is called with its object and the list."""
    if not callable(fn):
        if is_call(fn):
            raise ConfigError(not_a_function(fn, "batch", call="batch(size)"))
        raise ConfigError(f"{shown(fn)} is no function: write @batch(size, *policies) above one")
    check_async(fn, "batch")
    if takes_one(fn):
        return False
    if _is_in_a_class(fn) and takes_one(functools.partial(fn, None)):
        return True
    raise ConfigError(f"@batch on {name}, which cannot be called with one list alone: {_ALONE}", effect=name)


_ALONE = "write defaults for its other parameters, or need() for services"


def _is_in_a_class(fn: Callable[..., object]) -> bool:
    place = getattr(fn, "__qualname__", "").rpartition(".")[0]
    return bool(place) and not place.endswith("<locals>")


def _of_list(fn: Callable[..., Awaitable[Any]], method: bool) -> Callable[..., Awaitable[Any]]:
    """`fn`, which is given a list of its own at each attempt."""

    async def of_function(items: list[Any], /, **services: Any) -> Any:
        _otel.link_callers(len(items))
        return await fn([*items], **services)

    async def of_method(self: Any, items: list[Any], /, **services: Any) -> Any:
        _otel.link_callers(len(items))
        return await fn(self, [*items], **services)

    made: Any = of_method if method else of_function
    return cast("Callable[..., Awaitable[Any]]", functools.update_wrapper(made, fn, updated=()))


def _batched(
    fn: Any, call: Callable[..., Effect[Sequence[Any]]], size: int, wait: float, name: str, method: bool
) -> Any:
    """The effect function of one item."""

    def of_function(item: Any, /) -> Any: ...

    def of_method(self: Any, item: Any, /) -> Any: ...

    def opens(calls: Calls) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None] | None]:
        batch = _Batch(call, wait, calls)
        return batch.begin, batch.close, batch.called if batch.spans is not None else None

    one: Any = of_method if method else of_function
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(one, attribute, getattr(fn, attribute, name if attribute.endswith("name__") else None))
    own = plan((), name, one)
    made = cast("Any", EffectFunction(Collector(own, size, method, opens), own))
    return functools.update_wrapper(made, one)


class _Batch:
    """One batch, from its first item to the end of its task."""

    def __init__(self, call: Callable[..., Effect[Sequence[Any]]], wait: float, calls: Calls) -> None:
        self._call = call
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self.spans = _otel.callers()
        self._timer: asyncio.Handle | None = None
        if not wait:
            # After the first step of a task that is made in this turn, and calls in it.
            self._timer = self._loop.call_soon(self._next_turn)
        elif wait <= _ENDLESS:
            self._timer = self._loop.call_later(wait, self.begin)

    def called(self) -> None:
        """Notes the span of one more caller."""
        if self.spans is not None:
            _otel.add_caller(self.spans)

    def close(self) -> None:
        """Its last caller has left: it does not begin."""
        if self._timer is not None:
            self._timer.cancel()

    def _next_turn(self) -> None:
        self._timer = self._loop.call_soon(self.begin)

    def begin(self) -> None:
        self.close()
        begun = self._calls.begin()
        if begun is None:
            return
        items, latest, permit_context = begun
        self._context.run(deadline_var.set, latest)
        if self.spans is not None:
            self._context.run(_otel.set_callers, self.spans)
        work = self._run(items, permit_context)
        try:
            self._calls.runs(self._loop.create_task(work, context=self._context))
        except BaseException:
            work.close()
            self._calls.land()
            raise

    async def _run(self, items: list[Any], permit_context: PermitContext | None) -> None:
        calls, task = self._calls, asyncio.current_task()
        try:
            receiver = calls.receiver
            work: Awaitable[Sequence[Any]] = self._call(items) if receiver is None else self._call(receiver, items)
            if permit_context is None:
                values = await work
            else:
                values = await _children.bound(_awaited, work, permit_context)
            calls.answer(_checked(values, len(items), work))
        except BaseException as error:
            closed = is_close(error, task)
            del task  # the error's traceback keeps what is here
            if closed:
                raise
            waiting = calls.waiting
            calls.fail(error)
            if isinstance(error, asyncio.CancelledError) or (isinstance(error, EXITS) and not waiting):
                raise


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _checked(values: object, items: int, work: Any) -> list[Any]:
    """A list of its own: the function may change what it gave."""
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray)):
        raise TypeError(
            f"{work.__name__} must give a list with a result for each of its {items} items, and gave "
            f"{'None' if values is None else f'a {type(values).__name__}'}"
        )
    found = [*cast("Sequence[object]", values)]
    if len(found) != items:
        raise ValueError(
            f"{work.__name__} gave {len(found)} results for {items} items: it must give one for each, in their order"
        )
    return found
