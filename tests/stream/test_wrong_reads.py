"""The items of a stream that are read in a wrong way: each says the right one, and the right ones go on."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from datetime import timedelta
from typing import Any

import pytest

from mountain_runtime import (
    Hedge,
    RetryBudget,
    Runtime,
    Timeout,
    Work,
    amap,
    batch,
    blocking,
    chunked,
    effect,
    gather,
    stream,
)
from mountain_runtime.testing import chaos


@stream
async def tokens(n: int = 3) -> AsyncGenerator[int]:
    for each in range(n):
        yield each


@stream(Timeout(60))
async def slow_tokens(n: int = 3) -> AsyncGenerator[int]:
    for each in range(n):
        await asyncio.sleep(0)
        yield each


@batch(5)
async def load(ids: list[int]) -> list[int]:
    return ids


@effect
async def fetch(x: int = 1) -> int:
    return x


async def of_all(xs: Iterable[int]) -> list[int]:
    return [*xs]


@blocking
def sync(x: list[int]) -> list[int]:
    return x


#: Anything: what is wrong here, a type checker refuses.
tokens_: Any = tokens
amap_: Any = amap
chaos_: Any = chaos
work: Any = Work
call: Any = Timeout(1).call

OPEN = "write `async with tokens(...) as items:`, and `async for item in items:`"
ONE = "tokens gives many values: open it in a function under @effect, `async with tokens(...) as items:`"


async def loop_without_async() -> None:
    async with tokens_() as out:
        for _ in out:
            raise AssertionError


async def loop_without_async_after_an_item() -> None:
    async with slow_tokens() as out:
        assert await anext(out) == 0
        items: Any = out
        for _ in items:
            raise AssertionError


async def a_list_of_items() -> None:
    async with tokens_() as out:
        list(out)


async def next_of_items() -> None:
    async with slow_tokens() as out:
        next(out)  # type: ignore[call-overload]


async def await_of_items() -> None:
    async with tokens_() as out:
        await out


async def loop_over_lists() -> None:
    lists: Any
    async with chunked(tokens(), 2) as lists:
        for _ in lists:
            raise AssertionError


@pytest.mark.parametrize(
    "mistake",
    [
        loop_without_async,
        loop_without_async_after_an_item,
        a_list_of_items,
        next_of_items,
        await_of_items,
        loop_over_lists,
    ],
)
async def test_items_that_are_read_as_a_plain_iterator(mistake: Callable[[], Awaitable[None]]) -> None:
    """Not silence, and no None: the pull's own steps are no items."""
    with pytest.raises(TypeError) as caught:
        await mistake()
    assert "come one by one: write `async for item in items:`, or `await anext(items)`" in str(caught.value)


class Pulled:
    """An awaitable that goes on with another one, as libraries write it."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __await__(self) -> Generator[Any, Any, int]:
        return (yield from self.items.__anext__().__await__())


async def pulled(items: Any) -> int:
    return await Pulled(items)


@pytest.mark.parametrize("made", [tokens, slow_tokens])
async def test_every_right_way_to_pull(made: Callable[[int], Any]) -> None:
    async with made(9) as out:
        assert await anext(out) == 0
        assert await anext(out, None) == 1
        assert await out.__anext__() == 2
        assert await Pulled(out) == 3
        assert await asyncio.wait_for(anext(out), 60) == 4
        first, second = anext(out), anext(out)
        assert [await first, await second] == [5, 6]
        assert [each async for each in out] == [7, 8]
        assert await anext(out, None) is None


async def test_one_pull_at_a_time_is_said_as_before() -> None:
    async with slow_tokens(2) as out:
        found = await asyncio.gather(pulled(out), pulled(out), return_exceptions=True)
        assert found[0] == 0
        assert "one task pulls at a time" in str(found[1])
        assert await anext(out) == 1


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: asyncio.gather(tokens_()),
        lambda: asyncio.wait_for(tokens_(), 1),
        lambda: asyncio.ensure_future(tokens_()),
    ],
)
async def test_a_stream_that_is_awaited(mistake: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(TypeError) as caught:
        await mistake()
    assert str(caught.value) == f"stream 'tokens' cannot be awaited, since it gives many items: {OPEN}"


async def test_streams_where_one_value_is_asked_for() -> None:
    with pytest.raises(TypeError, match=re.escape(f"then() needs a function that gives an effect, and {ONE}")):
        await fetch().then(tokens_)
    with pytest.raises(TypeError, match=re.escape(f"amap() needs a function that gives an effect, and {ONE}")):
        async with amap_(lambda n: tokens(n), [1], limit=1) as results:  # noqa: PLW0108
            await anext(results)
    with pytest.raises(TypeError, match="stream 'chunked' cannot be awaited"):
        await call(chunked, tokens(), 2)
    async with Runtime() as runtime:
        with pytest.raises(TypeError, match=re.escape(f"submit() takes effects, and {ONE}")):
            runtime.submit(tokens_())


async def test_a_generator_where_two_attempts_would_read_it() -> None:
    with pytest.raises(TypeError, match="effect 'of_all' may be called again and was given a generator"):
        effect(Hedge(1))(of_all)(each for each in range(3))
    assert await Timeout(60).call(of_all, (each for each in range(3))) == [0, 1, 2]


async def test_work_that_is_added_behind_what_reads_ahead() -> None:
    growing = Work([1])
    with pytest.raises(RuntimeError, match=r"or in the function, as where chunked\(\) reads ahead of the loop"):
        async with amap(fetch, growing, limit=1) as results, chunked(results, 2) as lists:
            async for some in lists:
                for item, _ in some:
                    growing.add(item + 1)


async def test_blocks_of_the_other_kind() -> None:
    with pytest.raises(TypeError, match=re.escape("plain block: write `with faults.on():`")):
        async with chaos_(fail=0.1).on():
            raise AssertionError
    with pytest.raises(TypeError, match="a Work is read by amap"):
        async with work([1]):
            raise AssertionError


async def test_what_is_right_is_taken() -> None:
    """An effect around a batch is one around each caller's wait; a sync function of a list is under @blocking."""
    around = effect(Timeout(60), name="around")(load)
    assert await gather(around(1), around(2)) == (1, 2)
    assert await gather(batch(5)(sync)(1), fetch()) == (1, 1)
    assert await Timeout(60).call(load, 3) == 3
    for budget in (0, 0.05, 1, RetryBudget(ratio=2), None):
        Hedge(budget=budget)
    Hedge(timedelta(milliseconds=50))
    chaos(fail=0, hang=1)
    batch(1, wait=timedelta(0))
