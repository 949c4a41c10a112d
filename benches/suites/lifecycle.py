"""Beginning and end: what services cost, and how long a runtime takes to close. Programs stand in `spawn`.

Services and runtimes do nothing of their own here, so what is measured is the order that is kept. The peers keep less:
AsyncExitStack one order for all, a TaskGroup none, and neither a time limit nor a report.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter

from benches.harness import OURS, Contest, Measure, Sample, Scale
from benches.suites import spawn
from mountain_runtime import Key, Runtime, Shutdown
from mountain_runtime._native import trial_sleep as sleep

CASES: Mapping[str, tuple[str, ...]] = {
    "start-stop": ("AsyncExitStack",),
    "idle-close": ("TaskGroup",),
    "loaded-close": ("TaskGroup",),
    **spawn.CASES,
}

HOUR = 3600.0


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The three of ours, then the programs."""
    yield _start_stop(scale)
    yield _idle(scale)
    yield _loaded(scale)
    async for contest in spawn.contests(scale, loop):
        yield contest


# -- services -------------------------------------------------------------------------------------------------------


def _start_stop(scale: Scale) -> Contest:
    count = scale.pick(full=1000, quick=1000, tiny=10)
    turns = {OURS: partial(_services, count), "AsyncExitStack": partial(_stack, count)}
    return Contest(scale.pick(full=21, quick=7, tiny=1), turns, (count, count), (Measure("start-stop", "us"),))


class Ends:
    """How many were entered, and left."""

    def __init__(self) -> None:
        self.entered = self.left = 0

    def make(self) -> Callable[[], AbstractAsyncContextManager[int]]:
        """A service that does nothing."""

        @asynccontextmanager
        async def service() -> AsyncGenerator[int]:
            self.entered += 1
            yield self.entered
            self.left += 1

        return service


async def _services(count: int) -> Sample:
    """Microseconds a service, from before the start until after the stop, an empty runtime's included."""
    ends = Ends()
    runtime = Runtime()
    for number in range(count):
        runtime.provide(Key[int](f"service {number}"), ends.make())
    begun = perf_counter()
    async with runtime:
        pass
    return Sample(((perf_counter() - begun) / count * 1e6,), (ends.entered, ends.left))


async def _stack(count: int) -> Sample:
    ends = Ends()
    makers = [ends.make() for _ in range(count)]
    begun = perf_counter()
    async with AsyncExitStack() as stack:
        for make in makers:
            await stack.enter_async_context(make())
    return Sample(((perf_counter() - begun) / count * 1e6,), (ends.entered, ends.left))


# -- runtimes -------------------------------------------------------------------------------------------------------


def _idle(scale: Scale) -> Contest:
    turns = {OURS: partial(_close_runtime, 0), "TaskGroup": partial(_close_group, 0)}
    return Contest(scale.pick(full=101, quick=31, tiny=2), turns, 0, (Measure("idle-close", "ms"),))


def _loaded(scale: Scale) -> Contest:
    """So many are asleep, and there is no time to drain."""
    count = scale.pick(full=100_000, quick=100_000, tiny=50)
    turns = {OURS: partial(_close_runtime, count), "TaskGroup": partial(_close_group, count)}
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, count, (Measure("loaded-close", "ms"),))


async def _close_runtime(count: int) -> Sample:
    async with Runtime(shutdown=Shutdown(drain=0)) as runtime:
        handles = [runtime.submit(sleep(HOUR)) for _ in range(count)]
        await asyncio.sleep(0)
        begun = perf_counter()
    took = perf_counter() - begun
    return Sample((took * 1e3,), sum(handle.cancelled() for handle in handles))


async def _close_group(count: int) -> Sample:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(HOUR)) for _ in range(count)]
        await asyncio.sleep(0)
        begun = perf_counter()
        for task in tasks:
            task.cancel()
    took = perf_counter() - begun
    return Sample((took * 1e3,), sum(task.cancelled() for task in tasks))
