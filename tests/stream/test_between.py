"""Between two pulls, and beside them: a consumer that does not read, two that do, closers that come meanwhile."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Idle, Timeout, stream
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import Boom, Log, forever, rest, script

VAR: ContextVar[str] = ContextVar("var", default="unset")


async def test_a_consumer_that_never_reads_holds_nothing_beyond_the_limit(virtual_clock: VirtualClock) -> None:
    one, log = ConcurrencyLimit(1), Log()
    async with stream(Timeout(1), one)(script)(log, "a", "b", cleanup=0.5) as items:
        assert await anext(items) == "a"
        await asyncio.sleep(1.2)
        assert (log, one.statistics().in_flight) == (["opened", "GeneratorExit"], 1)
        await asyncio.sleep(0.4)
        assert (log, one.statistics().in_flight) == (["opened", "GeneratorExit", "closed"], 0)
        with pytest.raises(TimedOut, match=r"Timeout\(1\)"):
            await anext(items)
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_a_pull_waits_for_the_cleanup_that_a_limit_began(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(1))(script)(log, "a", "b", cleanup=5) as items:
        await anext(items)
        await asyncio.sleep(2)
        with pytest.raises(TimedOut):
            await anext(items)
        assert (log.closed, virtual_clock.time()) == (1, 6.0)


async def test_leaving_waits_for_that_cleanup_and_raises_nothing_new(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(1))(script)(log, "a", "b", cleanup=5) as items:
        await anext(items)
        await asyncio.sleep(2)
    assert (log, virtual_clock.time()) == (["opened", "GeneratorExit", "closed"], 6.0)


async def test_an_error_of_that_cleanup_is_the_cause(virtual_clock: VirtualClock) -> None:
    async def cannot_close() -> Any:
        try:
            yield 1
        finally:
            raise Boom("cleanup")

    async with stream(Timeout(1))(cannot_close)() as items:
        await anext(items)
        await asyncio.sleep(2)
        with pytest.raises(TimedOut) as ended:
            await anext(items)
    assert isinstance(ended.value.__cause__, Boom)


async def test_the_cleanup_runs_in_the_context_of_the_stream(virtual_clock: VirtualClock) -> None:
    seen: list[str] = []

    async def sets() -> Any:
        token = VAR.set("set")
        try:
            yield 1
        finally:
            seen.append(VAR.get())
            VAR.reset(token)
            await asyncio.sleep(0)
            seen.append(VAR.get())

    async with stream(Timeout(1))(sets)() as items:
        await anext(items)
        await asyncio.sleep(2)
    assert seen == ["set", "unset"]


async def test_a_cancel_of_a_pull_that_waits_for_the_cleanup(virtual_clock: VirtualClock) -> None:
    log = Log()

    async def body() -> None:
        async with stream(Timeout(1))(script)(log, "a", cleanup=50) as items:
            await anext(items)
            await asyncio.sleep(2)
            await anext(items)

    task = asyncio.create_task(body())
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert virtual_clock.time() == 3.0  # the cancel went on to the cleanup


async def test_a_closer_waits_for_a_pull_of_another_task(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(60))(script)(log, "a", 1, "b", "c") as items:
        assert await anext(items) == "a"
        pull = asyncio.create_task(anext(items))  # type: ignore[arg-type]
        await rest()
    assert pull.done()
    assert (await pull, virtual_clock.time(), log) == ("b", 1.0, ["opened", "GeneratorExit", "closed"])


async def test_a_close_in_the_midst_of_a_limits_cleanup(virtual_clock: VirtualClock) -> None:
    """M4: the cleanup runs once, the error is the limit's, and nothing says "already running"."""
    log = Log()
    ends: list[Any] = []

    async def pulls(items: Any) -> None:
        try:
            await anext(items)
        except BaseException as error:
            ends.append(error)

    async with stream(Timeout(1))(script)(log, "a", 99, cleanup=0.03) as items:
        assert await anext(items) == "a"
        task = asyncio.create_task(pulls(items))
        await asyncio.sleep(1.01)
        assert log == ["opened", "CancelledError"]
    assert (log, virtual_clock.time()) == (["opened", "CancelledError", "closed"], 1.03)
    await task
    assert [type(error) for error in ends] == [TimedOut]


async def test_a_second_pull_at_the_same_time_is_refused() -> None:
    async with stream(Idle(60))(script)(Log(), 0.01, "a", "b") as items:
        first = asyncio.create_task(anext(items))  # type: ignore[arg-type]
        await rest(2)
        with pytest.raises(RuntimeError, match="being pulled already: one task pulls at a time"):
            await anext(items)
        assert await first == "a"
        assert await anext(items) == "b"


async def test_two_pulls_that_begin_together() -> None:
    async with stream(script)(Log(), 0.01, "a", "b") as items:
        both = [asyncio.create_task(anext(items)) for _ in range(2)]  # type: ignore[arg-type]
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert ends[0] == "a"
        assert isinstance(ends[1], RuntimeError)


async def test_pulls_from_one_task_after_another(virtual_clock: VirtualClock) -> None:
    async with stream(Timeout(10), Idle(3))(script)(Log(), "a", 1, "b", 1, "c", 99) as items:
        got = [await asyncio.create_task(anext(items)) for _ in range(3)]  # type: ignore[arg-type]
        assert got == ["a", "b", "c"]
        with pytest.raises(TimedOut, match="Idle"):
            await asyncio.create_task(anext(items))  # type: ignore[arg-type]
    assert virtual_clock.time() == 5.0


async def test_a_cancelled_generator_that_goes_on_is_closed(virtual_clock: VirtualClock) -> None:
    log: list[str] = []

    async def stubborn() -> Any:
        yield "a"
        try:
            await forever()
        except asyncio.CancelledError:
            log.append("asked")
        try:
            yield "b"
        finally:
            log.append("closed")

    async with stream(Timeout(1))(stubborn)() as items:
        assert await anext(items) == "a"
        with pytest.raises(TimedOut):
            await anext(items)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    assert (log, virtual_clock.time()) == (["asked", "closed"], 1.0)


async def test_a_generator_that_pulls_its_own_stream() -> None:
    async def own() -> Any:
        yield 1
        await anext(held[0])

    async with stream(own)() as items:
        held: list[Any] = [items]
        await anext(items)
        with pytest.raises(RuntimeError, match="being pulled already"):
            await anext(items)


async def test_an_item_that_comes_as_the_time_passes(virtual_clock: VirtualClock) -> None:
    log = Log()
    got: list[Any] = []
    with pytest.raises(TimedOut):
        async with stream(Timeout(1))(script)(log, 1, "a", "b") as items:
            async for item in items:
                got.append(item)
    assert got in ([], ["a"])
    assert log.closed == 1


async def test_two_that_wait_for_the_same_cleanup(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(1))(script)(log, "a", "b", cleanup=5) as items:
        await anext(items)
        await asyncio.sleep(2)
        closes = [asyncio.ensure_future(items.aclose()) for _ in range(2)]  # type: ignore[attr-defined]
        await asyncio.gather(*closes)
    assert (log, virtual_clock.time()) == (["opened", "GeneratorExit", "closed"], 6.0)
