"""The ways in which a call of an effect ends, each with the end that is counted."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    Effect,
    Retry,
    Runtime,
    Timeout,
    _native,
    blocking,
    constant,
    deadline,
    effect,
    gather,
)
from mountain_runtime.errors import QueueFull, TimedOut


class Boom(Exception):
    """A failure of ours."""


@dataclass
class Call:
    """The material of a way to end: the name of its effect, and the function to call in the middle of the call."""

    name: str
    switch: Callable[[], None]

    def inline(self, *policies: Any, error: type[BaseException] | None = None) -> Effect[int]:
        @effect(*policies, name=self.name)
        async def work() -> int:
            self.switch()
            if error is not None:
                raise error
            return 1

        return work()

    def suspended(self, *policies: Any, error: type[BaseException] | None = None, sleeps: float = 0) -> Effect[int]:
        @effect(*policies, name=self.name)
        async def work() -> int:
            await asyncio.sleep(0)
            self.switch()
            await asyncio.sleep(sleeps)
            if error is not None:
                raise error
            return 1

        return work()

    def native(self) -> Effect[Any]:
        return _native.trial_sleep(30)


Way = Callable[[Call], Awaitable[object]]
#: By the end: its ways.
WAYS: dict[str, tuple[str, Way]] = {}


def ends_as(kind: str) -> Callable[[Way], Way]:
    def enters(way: Way) -> Way:
        WAYS[way.__name__] = (kind, way)
        return way

    return enters


@ends_as("succeeded")
async def inline_value(call: Call) -> None:
    await call.inline()


@ends_as("succeeded")
async def inline_value_under_policies(call: Call) -> None:
    await call.inline(Retry(on=Boom), Timeout(5))


@ends_as("failed")
async def inline_error(call: Call) -> None:
    with pytest.raises(Boom):
        await call.inline(error=Boom)


@ends_as("cancelled")
async def inline_cancel(call: Call) -> None:
    with suppress(asyncio.CancelledError):
        await call.inline(error=asyncio.CancelledError)


@ends_as("failed")
async def key_that_fails(call: Call) -> None:
    def key(a: int) -> int:
        call.switch()
        raise Boom

    @effect(Cache(ttl=5, key=key), name=call.name)
    async def work(a: int) -> int:
        return a

    with pytest.raises(Boom):
        await work(1)


@ends_as("rejected")
async def refused(call: Call) -> None:
    limit = ConcurrencyLimit(1, max_waiting=0)

    async def holds() -> None:
        async with limit.slot():
            await asyncio.sleep(30)

    holder = asyncio.ensure_future(holds())
    await asyncio.sleep(0)
    call.switch()
    with pytest.raises(QueueFull):
        await call.inline(limit)
    holder.cancel()
    await asyncio.wait([holder])


@ends_as("succeeded")
async def suspended_value(call: Call) -> None:
    await call.suspended()


@ends_as("succeeded")
async def suspended_value_under_policies(call: Call) -> None:
    await call.suspended(Retry(on=Boom), Timeout(5))


@ends_as("failed")
async def suspended_error(call: Call) -> None:
    with pytest.raises(Boom):
        await call.suspended(error=Boom)


@ends_as("cancelled")
async def cancelled(call: Call) -> None:
    task = asyncio.ensure_future(call.suspended(sleeps=30))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@ends_as("timed_out")
async def timed_out(call: Call) -> None:
    with pytest.raises(TimedOut):
        await call.suspended(Timeout(0.002), sleeps=30)


@ends_as("cancelled")
async def cancelled_in_its_backoff(call: Call) -> None:
    task = asyncio.ensure_future(call.suspended(Retry(on=Boom, backoff=constant(30)), error=Boom))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@ends_as("cancelled")
async def closed(call: Call) -> None:
    run = call.suspended().__await__()
    run.send(None)
    call.switch()
    run.close()


@ends_as("cancelled")
async def closed_with_an_error(call: Call) -> None:
    @effect(name=call.name)
    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            call.switch()
            raise Boom

    run = work().__await__()
    run.send(None)
    with pytest.raises(Boom):
        run.close()


@ends_as("failed")
async def thrown_into(call: Call) -> None:
    run = call.suspended().__await__()
    run.send(None)
    call.switch()
    with pytest.raises(Boom):
        run.throw(Boom())


@ends_as("cancelled")
async def a_generator_that_is_closed(call: Call) -> None:
    async def numbers() -> Any:
        yield await call.suspended(sleeps=30)

    task = asyncio.ensure_future(anext(numbers()))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@ends_as("cancelled")
async def dropped(call: Call) -> None:
    run = call.suspended().__await__()
    run.send(None)
    call.switch()
    del run


@ends_as("cancelled")
async def collected(call: Call) -> None:
    ring: list[object] = []

    @effect(name=call.name)
    async def work(ring: list[object]) -> int:
        await asyncio.sleep(0)
        return len(ring)

    run = work(ring).__await__()
    ring.append(run)
    run.send(None)
    call.switch()
    del run, ring
    gc.collect()


@ends_as("succeeded")
async def submitted(call: Call) -> None:
    async with Runtime() as rt:
        await rt.submit(call.suspended())


@ends_as("cancelled")
async def submitted_and_cancelled(call: Call) -> None:
    async with Runtime() as rt:
        handle = rt.submit(call.suspended(sleeps=30))
        for _ in range(3):
            await asyncio.sleep(0)
        handle.cancel()
        with suppress(asyncio.CancelledError):
            await handle


@ends_as("succeeded")
async def from_a_thread(call: Call) -> None:
    async with Runtime() as rt:
        await asyncio.to_thread(rt.from_thread, call.suspended())


@ends_as("succeeded")
async def on_a_thread(call: Call) -> None:
    await blocking(name=call.name)(call.switch)()


@ends_as("cancelled")
async def on_a_thread_and_cancelled(call: Call) -> None:
    began, ends = threading.Event(), threading.Event()

    def work() -> None:
        call.switch()
        began.set()
        ends.wait(10)

    task = asyncio.ensure_future(blocking(name=call.name)(work)())
    while not began.is_set():
        await asyncio.sleep(0.001)  # real: a thread begins
    task.cancel()
    await asyncio.wait([task])
    ends.set()


#: Calls of native effects, which have no names of their own.
NATIVE: dict[str, tuple[str, str, Way]] = {}


def natively(name: str, kind: str) -> Callable[[Way], Way]:
    def enters(way: Way) -> Way:
        NATIVE[way.__name__] = (name, kind, way)
        return way

    return enters


async def begun(call: Call, work: Effect[Any]) -> "asyncio.Task[Any]":
    async def awaits() -> Any:
        return await work

    task = asyncio.ensure_future(awaits())
    await asyncio.sleep(0)
    call.switch()
    return task


@natively("noop", "succeeded")
async def native_value(call: Call) -> None:
    await (await begun(call, _native.trial_noop(1)))


@natively("fail", "failed")
async def native_error(call: Call) -> None:
    with pytest.raises(FileNotFoundError):
        await (await begun(call, _native.trial_fail(2)))


@natively("sleep", "cancelled")
async def native_cancel(call: Call) -> None:
    task = await begun(call, call.native())
    task.cancel()
    await asyncio.wait([task])


@natively("sleep", "timed_out")
async def native_timeout(call: Call) -> None:
    with pytest.raises(TimedOut):
        await (await begun(call, call.native().under(Timeout(0.002))))


@natively("sleep", "succeeded")
async def native_submitted(call: Call) -> None:
    async with Runtime() as rt:
        handle = rt.submit(_native.trial_sleep(0.001))
        call.switch()
        await handle


@natively("sleep", "timed_out")
async def native_past_its_deadline(call: Call) -> None:
    with suppress(TimedOut):
        async with deadline(0):
            call.switch()
            await call.native()


@natively("noop", "succeeded")
async def native_part_of_a_group(call: Call) -> None:
    await (await begun(call, gather(_native.trial_noop(1), _native.trial_noop(2))))
