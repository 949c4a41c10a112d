"""Leaving a stream before its end: cleanup is awaited, once, and permits are back after it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from mountain_runtime import ConcurrencyLimit, Idle, Retry, Stream, Timeout, amap, constant, deadline, effect, stream
from mountain_runtime._native import Items, effect_statistics
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import Boom, Log, collect, forever, rest, script


def limited(log: Log, *steps: Any, cleanup: float | None = 0.01) -> tuple[Stream[Any], ConcurrencyLimit]:
    one = ConcurrencyLimit(1)
    source = stream(Timeout(60), Retry(on=Boom, attempts=3, backoff=constant(0)), one, Idle(30))(script)
    return source(log, *steps, cleanup=cleanup), one


async def test_a_break_waits_for_the_cleanup() -> None:
    log = Log()
    source, one = limited(log, "a", "b")
    async with source as items:
        async for _ in items:
            assert one.statistics().in_flight == 1
            break
    assert log == ["opened", "GeneratorExit", "closed"]
    assert one.statistics().in_flight == 0


async def test_an_error_of_the_body_passes_through() -> None:
    log = Log()
    source, one = limited(log, "a", "b")
    with pytest.raises(Boom, match="body"):
        async with source as items:
            async for _ in items:
                raise Boom("body")
    assert (log, one.statistics().in_flight) == (["opened", "GeneratorExit", "closed"], 0)


@pytest.mark.asyncio(loop_factories=["asyncio"])  # time can be virtual there only
@pytest.mark.usefixtures("virtual_clock")
async def test_a_cancel_stays_one_where_a_limit_passes_in_the_cleanup() -> None:
    closed: list[str] = []

    @stream(Timeout(1))
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            closed.append("closed")

    async def body(error: type[Exception] | None = None) -> None:
        async with rows() as items:
            async for _ in items:
                await asyncio.sleep(0.5)
                if error is not None:
                    raise error
                await forever()

    task = asyncio.create_task(body())
    await asyncio.sleep(0.6)
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError, match="mine"):
        await task
    with pytest.raises(TimedOut):  # as of an effect
        await body(Boom)
    assert len(closed) <= 2


async def test_a_cancel_in_the_body_waits_for_the_cleanup() -> None:
    log = Log()
    source, one = limited(log, "a", "b")

    async def body() -> None:
        async with source as items:
            async for _ in items:
                await forever()

    task = asyncio.create_task(body())
    await rest()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as ended:
        await task
    assert ended.value.args == ("mine",)
    assert (log, one.statistics().in_flight) == (["opened", "GeneratorExit", "closed"], 0)


async def test_a_cancel_in_a_pull_is_the_generators() -> None:
    log = Log()
    source, one = limited(log, "a", 99, "b")

    async def body() -> None:
        async with source as items:
            async for _ in items:
                pass

    task = asyncio.create_task(body())
    await rest()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as ended:
        await task
    assert ended.value.args == ("mine",)
    assert (log, one.statistics().in_flight) == (["opened", "CancelledError", "closed"], 0)


async def test_an_error_of_the_cleanup_is_raised_and_never_tried_again() -> None:
    opened = 0

    @stream(Retry(on=Boom, attempts=3, backoff=constant(0)))
    async def cannot_close() -> Any:
        nonlocal opened
        opened += 1
        try:
            yield 1
        finally:
            raise Boom("cleanup")

    with pytest.raises(Boom, match="cleanup"):
        async with cannot_close() as items:
            await anext(items)
    with pytest.raises(Boom, match="cleanup"):
        async with cannot_close() as items:
            await anext(items)
            raise KeyError("body")
    assert opened == 2


@pytest.mark.parametrize("policies", [(), (Timeout(60), Idle(60))])
async def test_a_generator_that_ignores_its_close(policies: tuple[Any, ...]) -> None:
    @stream(*policies)
    async def stubborn() -> Any:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        async with stubborn() as items:
            await anext(items)


async def test_a_timeout_asks_a_cleanup_that_hangs(virtual_clock: VirtualClock) -> None:
    log = Log()
    with pytest.raises(TimedOut):
        async with stream(Timeout(1))(script)(log, "a", "b", cleanup=99) as items:
            await anext(items)
    assert virtual_clock.time() == 1.0


async def test_leaving_twice_opening_none() -> None:
    log = Log()
    source, _ = limited(log, "a")
    with pytest.raises(RuntimeError, match="left when it has been entered"):
        await source.__aexit__(None, None, None)
    async with source:
        pass
    assert log == []
    async with source as items:
        assert isinstance(items, Items)
        assert [item async for item in items] == ["a"]
        await items.aclose()
        await items.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_a_value_opened_twice_at_once_closes_the_right_one() -> None:
    log = Log()
    source, _ = limited(log, "a", "b")
    source = stream(script)(log, "a", "b")
    async with source as outer:
        assert await anext(outer) == "a"
        async with source as inner:
            assert await anext(inner) == "a"
        assert await anext(outer) == "b"
        with pytest.raises(StopAsyncIteration):
            await anext(inner)

    async def one(first: "asyncio.Event", then: "asyncio.Event") -> None:
        async with source as items:
            assert await anext(items) == "a"
            first.set()
            await then.wait()
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    a, b = asyncio.Event(), asyncio.Event()
    await asyncio.gather(one(a, b), one(b, a))


async def test_after_its_end_and_after_an_error_it_is_over() -> None:
    for steps in (("a",), ("a", Boom())):
        async with stream(Timeout(9))(script)(Log(), *steps) as items:
            try:
                assert [item async for item in items] == ["a"]
            except Boom:
                pass
            assert [item async for item in items] == []
            assert "ended" in repr(items)


async def test_a_consumer_coroutine_that_is_closed() -> None:
    """The close of a coroutine allows no wait: the cleanup runs as far as it does not wait."""
    log = Log()

    async def body(cleanup: float | None) -> None:
        async with stream(script)(log, "a", cleanup=cleanup) as items:
            await anext(items)
            await forever()

    for cleanup in (None, 0):
        work = body(cleanup)
        work.send(None)
        work.close()
    assert log[:3] == ["opened", "GeneratorExit", "closed"]


async def test_dropped_without_a_close_it_gives_its_permit_back(loop_complaints: list[str]) -> None:
    log = Log()
    source, one = limited(log, "a", "b")
    items = aiter(source)
    assert await anext(items) == "a"
    del items
    collect()
    assert one.statistics().in_flight == 0
    for _ in range(1000):
        if log.closed:
            break
        await asyncio.sleep(0.001)  # asyncio closes the generator in a task of its own
    assert log == ["opened", "GeneratorExit", "closed"]
    assert loop_complaints == []


async def test_amap_closes_the_stream_that_it_reads() -> None:
    log = Log()
    source, one = limited(log, "a", "b", "c")

    async def echo(item: str) -> str:
        return item * 2

    async with amap(echo, source, limit=1) as results:
        async for item, result in results:
            assert (item, result) == ("a", "aa")
            break
    assert (log, one.statistics().in_flight) == (["opened", "GeneratorExit", "closed"], 0)


async def test_a_break_is_counted_as_a_success() -> None:
    source = stream(Timeout(9), name="left.early")(script)(Log(), "a", 0, "b")
    before = effect_statistics()["left.early"]
    async with source as items:
        await anext(items)
    after = effect_statistics()["left.early"]
    assert [b - a for a, b in zip(before, after, strict=True)][:7] == [1, 1, 0, 0, 0, 0, 0]


async def test_a_scope_of_anyio_around_a_pull() -> None:
    log = Log()
    source, one = limited(log, "a", 99, "b", cleanup=None)
    async with source as items:
        assert await anext(items) == "a"
        with anyio.move_on_after(0.01) as scope:
            await anext(items)
        assert scope.cancelled_caught
        assert log == ["opened", "CancelledError", "closed"]
        assert [item async for item in items] == []
    assert one.statistics().in_flight == 0


async def test_a_deadline_around_the_block(virtual_clock: VirtualClock) -> None:
    log = Log()
    with pytest.raises(TimedOut):
        async with deadline(1):
            async with stream(Retry(on=Boom), Idle(50))(script)(log, "a", 99) as items:
                async for _ in items:
                    pass
    assert (virtual_clock.time(), log) == (1.0, ["opened", "CancelledError", "closed"])


async def test_work_inside_a_stream_has_its_deadline(virtual_clock: VirtualClock) -> None:
    @effect
    async def inner() -> None:
        await forever()

    async def outer() -> Any:
        yield 1
        try:
            await inner()
        except TimedOut as error:
            raise Boom(str(error)) from None

    with pytest.raises(TimedOut):
        async with stream(Timeout(1))(outer)() as items:
            async for _ in items:
                pass
    assert virtual_clock.time() == 1.0
