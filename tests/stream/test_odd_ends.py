"""Odd ends: exits, StopIteration, frozen exceptions, closed loops, collected streams, generators driven by hand."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Idle, Retry, Timeout, constant, stream
from mountain_runtime._native import Items
from mountain_runtime.errors import ConfigError, TimedOut

from .support import Boom, Log, collect, forever, rest, script

ALL = (Timeout(60), Retry(on=Boom, attempts=2, backoff=constant(0)), Idle(30))


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception that takes no attributes."""

    code: int


class Iterator:
    """An async iterator that is no generator, by hand."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.closed = 0

    def __aiter__(self) -> "Iterator":
        return self

    async def __anext__(self) -> Any:
        if not self.items:
            raise StopAsyncIteration
        item = self.items.pop(0)
        if isinstance(item, BaseException):
            raise item
        await asyncio.sleep(0)
        return item


class Closable(Iterator):
    async def aclose(self) -> None:
        self.closed += 1


def of(source: Any, *policies: Any) -> Any:
    """A stream of any async iterator: as of a function that a decorator made."""

    class Source:
        def __call__(self) -> Any:
            return source

    return stream(*policies)(Source())()  # type: ignore[arg-type]


async def test_an_exit_passes_every_policy() -> None:
    log = Log()
    for exit_ in (SystemExit(3), KeyboardInterrupt()):
        with pytest.raises(type(exit_)):
            async with stream(*ALL)(script)(log, exit_) as items:
                await anext(items)
    assert (log.opened, log.closed) == (2, 2)


async def test_stop_iteration_is_a_runtime_error() -> None:
    for stop in (StopIteration(1), StopAsyncIteration(2)):
        with pytest.raises(RuntimeError, match="raised Stop"):
            async with stream(*ALL)(script)(Log(), stop) as items:
                await anext(items)

    class Stops(Iterator):
        def __anext__(self) -> Any:
            raise StopIteration

    with pytest.raises(RuntimeError, match="a stream raised StopIteration"):
        async with of(Stops()) as items:
            await anext(items)


async def test_a_frozen_exception_passes() -> None:
    with pytest.raises(Frozen):
        async with stream(*ALL)(script)(Log(), Frozen(1)) as items:
            await anext(items)
    tried = Log()
    with pytest.raises(Frozen):
        async with stream(Retry(on=Frozen, attempts=2, backoff=constant(0)))(script)(tried, Frozen(2)) as items:
            await anext(items)
    assert tried.opened == 2


async def test_async_iterators_of_any_kind() -> None:
    for source in (Iterator("a", "b"), Closable("a", "b")):
        async with of(source, *ALL) as items:
            assert await anext(items) == "a"
        assert source.closed == isinstance(source, Closable)
    with pytest.raises(TypeError, match="must give an async iterator, not list"):
        async with of([1]) as items:
            await anext(items)


def test_only_async_generator_functions_are_decorated() -> None:
    async def once() -> int:
        return 1

    def rows() -> Any:
        yield 1

    for wrong, says in ((once, "write @effect"), (rows, "make it `async def`"), (len, None), (list, "make it")):
        if says is None:
            stream(wrong)  # type: ignore[arg-type]  # nothing is known of it
            continue
        with pytest.raises(ConfigError, match=says):
            stream(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="takes the function itself, and got a generator of it"):
        stream(script(Log()))  # type: ignore[arg-type]


async def test_a_stream_is_collected_with_its_consumer() -> None:
    """A ring through the arguments, the generator's frame and the items."""

    class Ring:
        pass

    async def around(ring: Any) -> Any:
        while True:
            yield ring

    ring = Ring()
    items = aiter(stream(*ALL)(around)(ring))
    assert await anext(items) is ring
    ring.items = items  # type: ignore[attr-defined]
    gone = weakref.ref(ring)
    del ring, items
    for _ in range(5):
        gc.collect()
        await rest()
    assert gone() is None


def test_a_loop_that_is_closed_in_mid_stream(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    one, log = ConcurrencyLimit(1), Log()
    source = stream(Timeout(60), one)(script)(log, "a", "b", "c")
    loop = new_loop()
    items = loop.run_until_complete(opened(source))
    assert one.statistics().in_flight == 1
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert log.closed == 1
    assert one.statistics().in_flight == 0
    again = new_loop()
    with pytest.raises(RuntimeError, match="the loop that stream 'script' was read on is closed"):
        again.run_until_complete(awaited(items))
    with pytest.raises(StopAsyncIteration):
        again.run_until_complete(awaited(items))
    again.close()


async def opened(source: Any) -> Any:
    items = aiter(source)
    assert await anext(items) == "a"
    return items


def test_a_loop_that_ends_while_a_stream_is_closed_for_its_limit(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    one, log = ConcurrencyLimit(1), Log()

    async def main() -> Any:
        items = await opened(stream(Timeout(0.01), one)(script)(log, "a", "b", cleanup=99))
        await asyncio.sleep(0.05)  # real: the limit passes
        return items

    loop = new_loop()
    items = loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert one.statistics().in_flight == 0
    with pytest.raises((TimedOut, asyncio.CancelledError)):
        loop.run_until_complete(awaited(items))
    loop.close()


async def awaited(items: Any) -> Any:
    return await anext(items)


async def test_a_pull_outside_of_any_task() -> None:
    items = aiter(stream(script)(Log(), "a", "b"))
    pull: Any = items.__anext__()
    with pytest.raises(StopIteration) as ended:
        pull.send(None)
    assert ended.value.value == "a"
    assert isinstance(items, Items)
    await items.aclose()


async def test_a_pull_that_is_closed() -> None:
    log = Log()
    items: Any = aiter(stream(*ALL)(script)(log, "a", 99, cleanup=None))
    await anext(items)
    task = asyncio.create_task(anext(items))
    await rest(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["opened", "CancelledError", "closed"]
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_many_open_streams(loop_complaints: list[str]) -> None:
    """Each takes a few kilobytes, and gives everything back."""
    one = ConcurrencyLimit(10_000)
    source = stream(Timeout(600), one, Idle(60))(script)
    held = [aiter(source(Log(), "a", "b", cleanup=None)) for _ in range(2000)]
    assert [await anext(items) for items in held] == ["a"] * 2000
    assert one.statistics().in_flight == 2000
    for items in held:
        await items.aclose()  # type: ignore[attr-defined]
    assert one.statistics().in_flight == 0
    del held
    collect()
    assert loop_complaints == []


async def test_a_stream_of_a_stream_and_so_on() -> None:
    async def inner() -> Any:
        for n in range(3):
            await asyncio.sleep(0)
            yield n

    source: Any = inner
    for _ in range(50):

        def nest(below: Any = source) -> Any:
            async def outer() -> Any:
                async with stream(*ALL)(below)() as items:
                    async for item in items:
                        yield item

            return outer

        source = nest()
    async with stream(*ALL)(source)() as items:
        assert [item async for item in items] == [0, 1, 2]


async def test_the_coroutine_of_a_consumer_is_thrown_away_in_a_pull() -> None:
    log = Log()

    async def consumer() -> None:
        async with stream(*ALL)(script)(log, "a", "b", cleanup=None) as items:
            await anext(items)
            await forever()

    work = consumer()
    task = asyncio.create_task(work)
    await rest()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["opened", "GeneratorExit", "closed"]
