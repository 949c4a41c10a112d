"""SystemExit and KeyboardInterrupt in work of ours: everything stops in order, and then they are raised."""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from mountain_runtime import Cache, Key, Runtime, amap, blocking, effect, gather, need, race, run, sidecar

from .support import LONG

DB, CACHE = Key[str]("db"), Key[str]("cache")


class Ended(list[str]):
    """The tasks that have ended, in order."""

    def runtime(self, **settings: Any) -> Runtime:
        """One with a cache that flushes into a db when it stops."""

        @asynccontextmanager
        async def db() -> AsyncGenerator[str]:
            try:
                yield "db"
            finally:
                self.append("db")

        @asynccontextmanager
        async def cache(db: str = need(DB)) -> AsyncGenerator[str]:
            try:
                yield "cache"
            finally:
                await asyncio.sleep(0)
                self.append("cache")

        return Runtime(**settings).provide(DB, db).provide(CACHE, cache)


@effect
async def exits() -> int:
    await asyncio.sleep(0)
    sys.exit(3)


@blocking
def exits_in_a_thread() -> int:
    sys.exit(3)


@effect
async def forever() -> int:
    await asyncio.sleep(LONG)
    return 1


async def at_once(rt: Runtime) -> None:
    sys.exit(3)


async def submitted(rt: Runtime) -> None:
    rt.submit(exits())
    await forever()


async def submitted_and_awaited(rt: Runtime) -> None:
    await rt.submit(exits())


async def submitted_in_a_group(rt: Runtime) -> None:
    rt.submit(gather(forever(), exits()))
    await forever()


async def gathered(rt: Runtime) -> None:
    await gather(forever(), exits())


async def raced(rt: Runtime) -> None:
    await race(forever(), exits())


async def mapped(rt: Runtime) -> None:
    async with amap(lambda _: exits(), [1, 2], limit=2) as results:
        async for _ in results:
            pass


async def pulled(rt: Runtime) -> None:
    async def items() -> AsyncGenerator[int]:
        yield 1
        sys.exit(3)

    async with amap(lambda _: forever(), items(), limit=2) as results:
        async for _ in results:
            pass


async def on_a_thread(rt: Runtime) -> None:
    await exits_in_a_thread()


async def from_a_thread(rt: Runtime) -> None:
    def body() -> None:
        with pytest.raises(BaseException):
            rt.from_thread(exits())

    thread = threading.Thread(target=body)
    thread.start()
    try:
        await forever()
    finally:
        while thread.is_alive():
            await asyncio.sleep(0.01)  # the thread looks up by itself


async def cached(rt: Runtime) -> None:
    await effect(Cache(ttl=LONG))(exits)()


async def deferred(rt: Runtime) -> None:
    async def last() -> None:
        sys.exit(3)

    rt.defer(last)


async def ready(rt: Runtime) -> None:
    async with sidecar("sh", "-c", "echo up; sleep 60", ready=lambda line: sys.exit(3))():
        pass


async def in_a_done_callback(rt: Runtime) -> None:
    rt.submit(effect(asyncio.sleep)(0)).add_done_callback(lambda _: sys.exit(3))
    await forever()


async def in_a_callback_of_the_loop(rt: Runtime) -> None:
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await forever()


async def in_a_task_of_its_own(rt: Runtime) -> None:
    await asyncio.create_task(exits())


#: Where asyncio stops the loop: `run`, whose loop it is, lets it go on until everything has stopped.
THROUGH_THE_LOOP = [in_a_done_callback, in_a_callback_of_the_loop, in_a_task_of_its_own]

WAYS = [
    at_once,
    submitted,
    submitted_and_awaited,
    submitted_in_a_group,
    gathered,
    raced,
    mapped,
    pulled,
    on_a_thread,
    from_a_thread,
    cached,
    deferred,
    ready,
]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("main", WAYS + THROUGH_THE_LOOP)
def test_an_exit_waits_until_all_has_stopped(main: Callable[[Runtime], Awaitable[None]], loop: Any) -> None:
    ended = Ended()
    runtime = ended.runtime()
    with pytest.raises(SystemExit) as stop:
        run(main, runtime=runtime, loop=loop)
    assert stop.value.code == 3
    assert ended == ["cache", "db"]
    assert runtime.report is not None
    assert [step.name for step in runtime.report.steps if step.name.startswith("stop")] == ["stop cache", "stop db"]


def test_also_where_what_is_submitted_waits_for_its_turn() -> None:
    ended = Ended()
    with pytest.raises(SystemExit):
        run(submitted, runtime=ended.runtime(max_in_flight=1))
    assert ended == ["cache", "db"]


@pytest.mark.parametrize("when", ["start", "up", "end"])
def test_an_exit_in_a_service(when: Literal["start", "up", "end"]) -> None:
    ended = Ended()

    async def fails() -> None:
        sys.exit(3)

    @asynccontextmanager
    async def third(cache: str = need(CACHE)) -> AsyncGenerator[int]:
        if when == "start":
            sys.exit(3)
        async with asyncio.timeout(LONG):
            if when == "up":
                await gather(effect(fails)(), forever())
            yield 3
        if when == "end":
            sys.exit(3)

    async def main(rt: Runtime) -> None:
        await asyncio.sleep(0)

    runtime = ended.runtime().provide(Key[int]("third"), third)
    with pytest.raises(SystemExit) as stop:
        run(main, runtime=runtime)
    assert stop.value.code == 3
    assert ended == ["cache", "db"]
    assert runtime.report is not None


def test_an_interrupt_likewise() -> None:
    ended = Ended()

    async def main(rt: Runtime) -> None:
        @effect
        async def interrupted() -> None:
            raise KeyboardInterrupt

        rt.submit(interrupted())
        await forever()

    with pytest.raises(KeyboardInterrupt):
        run(main, runtime=ended.runtime())
    assert ended == ["cache", "db"]


@pytest.mark.parametrize("main", WAYS)
def test_in_a_block_of_a_program_of_its_own(main: Callable[[Runtime], Awaitable[None]]) -> None:
    ended = Ended()

    async def whole() -> None:
        async with ended.runtime() as rt:
            await main(rt)

    with pytest.raises(SystemExit) as stop:
        asyncio.run(whole())
    assert stop.value.code == 3
    assert ended == ["cache", "db"]


def test_what_is_in_flight_is_cancelled_and_cleaned_up_first() -> None:
    ended = Ended()

    @effect
    async def cleans_up() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    async def main(rt: Runtime) -> None:
        rt.submit(cleans_up())
        await asyncio.sleep(0)
        sys.exit(3)

    with pytest.raises(SystemExit):
        run(main, runtime=ended.runtime())
    assert ended == ["work", "cache", "db"]


def test_an_error_after_an_exit_does_not_replace_it() -> None:
    async def main(rt: Runtime) -> None:
        try:
            await rt.submit(exits())
        finally:
            raise ValueError("in cleanup")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 3
    assert isinstance(stop.value.__context__, ValueError)  # nor is it lost
