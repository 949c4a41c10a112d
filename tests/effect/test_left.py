"""Native work whose await is left: by a close of the coroutine, by the collector, by an exception thrown in."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Fallback, Runtime, blocking
from mountain_runtime._native import trial_sleep as sleep

from .support import LONG, Boom, collect, ticks


@pytest.mark.parametrize("policies", [(), (Fallback(lambda _: None, on=Boom),)], ids=["native", "inline"])
@pytest.mark.parametrize(
    "leaves", [Coroutine.close, lambda outer: outer.throw(KeyError()), None], ids=["close", "throw", "del"]
)
async def test_native_work_ends_with_the_coroutine_that_awaits_it(policies: tuple[Any, ...], leaves: Any) -> None:
    """However that is left: its permits are given back, as those of a Python leaf are."""
    limit = ConcurrencyLimit(1)

    async def caller() -> None:
        await sleep(LONG).under(limit, *policies)

    outer = caller()
    outer.send(None)
    while limit.statistics().in_flight == 0:
        await asyncio.sleep(0.001)  # a worker begins it
    if leaves is not None:
        with contextlib.suppress(KeyError):
            leaves(outer)
    del outer
    collect()
    async with asyncio.timeout(LONG / 2):
        await limit.call(asyncio.sleep, 0)
    assert limit.statistics().in_flight == 0


async def test_a_job_that_waits_for_a_thread_ends_with_the_coroutine_that_awaits_it() -> None:
    """The thread is busy: what has not begun never does."""
    gate, ran = threading.Event(), False

    def runs() -> None:
        nonlocal ran
        ran = True

    async with Runtime(threads=1) as runtime:
        busy = runtime.submit(blocking()(gate.wait)())
        await ticks()

        async def caller() -> None:
            await blocking()(runs)()

        outer = caller()
        outer.send(None)
        outer.close()
        gate.set()
        await busy
        await blocking()(int)()
    assert not ran


async def test_submitted_work_goes_on_when_the_coroutine_that_awaits_it_is_closed() -> None:
    async with Runtime() as runtime:
        handle = runtime.submit(sleep(0.001).map(lambda _: 5))
        native = runtime.submit(sleep(0.001))

        async def caller(work: Any) -> None:
            await work

        for work in (handle, native):
            outer = caller(work)
            outer.send(None)
            outer.close()
            work._asyncio_future_blocking = False  # as a task does that takes it
        assert await handle == 5
        await native
