"""Streams in a runtime: what they need, what a shutdown lets go on, how they are counted, and how they look."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from mountain_runtime import Idle, Priority, Retry, Runtime, Timeout, amap, constant, effect, need, priority, stream
from mountain_runtime.errors import ConfigError, ServiceMissing, ShuttingDown

from .support import Boom, Log, rest, script


class Store:
    """A service."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Rows:
    """Streams as methods."""

    def __init__(self) -> None:
        self.count = 2

    @stream(Timeout(9))
    async def all(self, store: Store = need(Store)) -> AsyncIterator[tuple[int, Store]]:
        for n in range(self.count):
            yield n, store


async def test_a_method_gets_its_service() -> None:
    async with Runtime().provide(Store, Store), Rows().all() as rows:
        got = [row async for row in rows]
    assert [n for n, _ in got] == [0, 1]
    assert isinstance(got[0][1], Store)
    with pytest.raises(ServiceMissing):
        async with Rows().all() as rows:
            await anext(rows)
    given = Store()
    async with Rows().all(given) as rows:
        assert await anext(rows) == (0, given)


async def test_wrong_arguments_are_refused_where_they_are_written() -> None:
    with pytest.raises(TypeError):
        Rows().all(1, 2)  # type: ignore[arg-type, call-arg]


async def test_a_draining_runtime_lets_accepted_streams_go_on_and_refuses_others() -> None:
    log, ends = Log(), list[Any]()
    opened, go_on = asyncio.Event(), asyncio.Event()

    @effect
    async def accepted() -> None:
        async with stream(Timeout(30))(script)(log, "a", 0.0, "b") as items:
            ends.append(await anext(items))
            opened.set()
            await go_on.wait()
            ends.extend([item async for item in items])
            ends.extend([item async for item in stream(script)(log, "c")])

    async def beside(runtime: Runtime) -> None:
        await opened.wait()
        closing = asyncio.create_task(runtime.__aexit__(None, None, None))
        await rest()
        with pytest.raises(ShuttingDown):
            async with stream(script)(Log(), "late") as items:
                await anext(items)
        go_on.set()
        await closing

    runtime = Runtime()
    await runtime.__aenter__()
    handle = runtime.submit(accepted())
    await beside(runtime)
    await handle
    assert ends == ["a", "b", "c"]


async def test_it_is_counted_as_one_call_whatever_its_items() -> None:
    async with Runtime() as runtime:
        before = runtime.statistics().effects.get("counted")
        assert before is None or before.started >= 0
        counted = stream(Retry(on=Boom, attempts=2, backoff=constant(0)), name="counted")(script)
        async with counted(Log(), "a", 0.0, "b") as items:
            assert [item async for item in items] == ["a", "b"]
        with pytest.raises(Boom):
            async with counted(Log(), "a", Boom()) as items:
                assert [item async for item in items] == ["a"]
        task = asyncio.create_task(_hangs(counted))
        await rest()
        task.cancel()
        await asyncio.wait({task})
        after = runtime.statistics().effects["counted"]
    base = (before.started, before.succeeded, before.failed, before.cancelled) if before else (0, 0, 0, 0)
    now = (after.started, after.succeeded, after.failed, after.cancelled)
    assert [b - a for a, b in zip(base, now, strict=True)] == [3, 1, 1, 1]


async def _hangs(counted: Any) -> None:
    async with counted(Log(), "a", 99) as items:
        async for _ in items:
            pass


async def test_its_text() -> None:
    source = stream(Timeout(3), Idle(1), name="tokens")(script)
    assert repr(source) == "<stream function tokens under Timeout(3), Idle(1)>"
    assert repr(source(Log(), "a")) == "<Stream tokens([], 'a') under Timeout(3), Idle(1)>"
    assert repr(source(Log()).under(Timeout(9))) == "<Stream tokens([]).under(Timeout(9))>"
    async with source(Log(), "a", 9) as items:
        assert repr(items) == "<items of stream tokens, opened>"
        await anext(items)
        assert repr(items) == "<items of stream tokens, open>"
        task = asyncio.create_task(anext(items))  # type: ignore[arg-type]
        await rest(2)
        assert repr(items) == "<items of stream tokens, being pulled>"
        task.cancel()
        await asyncio.wait({task})
        assert repr(items) == "<items of stream tokens, ended>"
    with pytest.raises(AttributeError, match=r"which was not called: write tokens\(...\).under"):
        source.under(Timeout(1))  # type: ignore[attr-defined]


async def test_a_priority_of_the_code_that_reads() -> None:
    async with Runtime():
        with priority(Priority.HIGH):
            async with stream(Timeout(1))(script)(Log(), "a") as items:
                assert await anext(items) == "a"


async def test_amap_over_a_stream_reads_it_whole() -> None:
    async def twice(item: str) -> str:
        return item * 2

    async with amap(twice, stream(Timeout(9))(script)(Log(), "a", 0.0, "b"), limit=4, ordered=True) as results:
        assert [result async for _, result in results] == ["aa", "bb"]


def test_a_generator_as_an_argument_is_refused_where_a_policy_repeats() -> None:
    with pytest.raises((ConfigError, TypeError)):
        stream(Retry(on=Boom))(script)(Log(), (n for n in range(3)))
