"""chunked: lists by size, without loss, and with a source that is closed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mountain_runtime import Work, amap, chunked
from mountain_runtime.errors import ConfigError

from .sources import Boom, Source, forever, ticks

#: With a time that never comes within a test, the source has a task of its own.
LONG = 30
TIMES = pytest.mark.parametrize("within", [None, LONG], ids=["by size", "by size and time"])


async def lists_of(source: Any, size: int, within: float | None = None) -> list[list[int]]:
    async with chunked(source, size, within=within) as lists:
        return [some async for some in lists]


@TIMES
@pytest.mark.parametrize("pauses", [0, 1, 3])
@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [
        (7, 3, [[0, 1, 2], [3, 4, 5], [6]]),
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (3, 1, [[0], [1], [2]]),
        (2, 3, [[0, 1]]),
        (1, 3, [[0]]),
        (0, 3, []),
    ],
)
async def test_lists_of_a_size(n: int, size: int, expected: list[list[int]], within: float | None, pauses: int) -> None:
    source = Source(n, pauses)
    assert await lists_of(source.items(), size, within) == expected
    assert source.closed == 1


@TIMES
async def test_any_asynchronous_iterable(within: float | None) -> None:
    class Counts:
        def __init__(self) -> None:
            self.n = 0

        def __aiter__(self) -> "Counts":
            return self

        async def __anext__(self) -> int:
            if self.n == 3:
                raise StopAsyncIteration
            self.n += 1
            return self.n

    assert await lists_of(Counts(), 2, within) == [[1, 2], [3]]
    assert await lists_of(Source(3, 1), 2, within) == [[0, 1], [2]]
    async with chunked(Counts(), 2, within=within) as lists:  # and it is left
        assert await anext(lists) == [1, 2]


@TIMES
async def test_the_results_of_amap(within: float | None) -> None:
    async def double(n: int) -> int:
        await ticks(n % 3)
        return 2 * n

    async with (
        amap(double, range(10), limit=4, ordered=True) as results,
        chunked(results, 4, within=within) as lists,
    ):
        sums = [sum(twice for _, twice in some) async for some in lists]
    assert sums == [0 + 2 + 4 + 6, 8 + 10 + 12 + 14, 16 + 18]


@TIMES
async def test_lists_are_the_readers_own(within: float | None) -> None:
    """One that is changed changes none that comes."""
    async with chunked(Source(5, 0).items(), 2, within=within) as lists:
        seen = []
        async for some in lists:
            seen.append(list(some))
            some.clear()
    assert seen == [[0, 1], [2, 3], [4]]


# -- how far it reads ---------------------------------------------------------------------------------------------


async def test_by_size_nothing_is_read_ahead() -> None:
    source = Source(None, 1)
    async with chunked(source.items(), 3) as lists:
        await ticks(20)
        assert source.given == 0
        for taken in (1, 2, 3):
            await anext(lists)
            await ticks(20)
            assert source.given == 3 * taken
    assert source.closed == 1


async def test_with_a_time_one_list_is_collected_meanwhile() -> None:
    source = Source(None, 1)
    async with chunked(source.items(), 3, within=LONG) as lists:
        await ticks(20)
        assert source.given == 0  # before the first pull
        for taken in (1, 2, 3):
            await anext(lists)
            await ticks(20)
            assert source.given == 3 * taken + 3
    assert source.closed == 1


# -- errors -------------------------------------------------------------------------------------------------------


@TIMES
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
async def test_an_error_comes_after_what_was_read_before_it(n: int, within: float | None) -> None:
    source = Source(n, 1, Boom("out"))
    seen: list[list[int]] = []
    async with chunked(source.items(), 2, within=within) as lists:
        with pytest.raises(Boom, match="out"):
            async for some in lists:
                seen.append(some)
        with pytest.raises(StopAsyncIteration):  # once
            await anext(lists)
    assert [item for some in seen for item in some] == list(range(n))
    assert all(len(some) == 2 for some in seen[:-1])


@TIMES
async def test_an_exit_in_the_source_is_raised_where_its_lists_are_read(within: float | None) -> None:
    source = Source(0, 1, SystemExit(3))
    with pytest.raises(SystemExit):
        await lists_of(source.items(), 2, within)


async def test_an_exit_in_the_source_is_raised_where_its_lists_are_left() -> None:
    source = Source(2, 1, SystemExit(3))
    with pytest.raises(SystemExit):
        async with chunked(source.items(), 2, within=LONG) as lists:
            await anext(lists)
            await ticks(10)


@TIMES
async def test_an_error_of_the_body_closes_the_source(within: float | None) -> None:
    source = Source(None, 1)
    with pytest.raises(Boom):
        async with chunked(source.items(), 2, within=within) as lists:
            async for _ in lists:
                raise Boom
    assert source.closed == 1


# -- leaving ------------------------------------------------------------------------------------------------------


@TIMES
@pytest.mark.parametrize("after", range(12))
async def test_leaving_at_any_time_closes_the_source_and_awaits_it(after: int, within: float | None) -> None:
    source = Source(None, 2)
    async with chunked(source.items(), 2, within=within) as lists:
        await anext(lists)
        await ticks(after)
    assert source.closed == 1
    given = source.given
    await ticks(20)
    assert source.given == given
    assert len(asyncio.all_tasks()) == 1


@TIMES
async def test_a_block_in_which_nothing_is_pulled(within: float | None) -> None:
    source = Source(None, 1)
    async with chunked(source.items(), 2, within=within):
        await ticks(3)
    assert source.given == 0
    assert len(asyncio.all_tasks()) == 1


@TIMES
async def test_an_error_of_the_close_is_raised(within: float | None) -> None:
    async def breaks() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            raise Boom

    with pytest.raises(Boom):
        async with chunked(breaks(), 1, within=within) as lists:
            await anext(lists)


@TIMES
async def test_a_source_that_ignores_its_close_is_said_to(within: float | None) -> None:
    async def ignores() -> AsyncIterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        async with chunked(ignores(), 1, within=within) as lists:
            await anext(lists)


@TIMES
@pytest.mark.parametrize("after", range(20))
async def test_a_cancel_at_any_time_closes_it_and_is_raised(after: int, within: float | None) -> None:
    source = Source(None, 1)

    async def work() -> None:
        async with chunked(source.items(), 2, within=within) as lists:
            async for _ in lists:
                await ticks(2)

    task = asyncio.create_task(work())
    await ticks(after)
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        await task
    assert source.closed == (1 if source.begun else 0)
    assert len(asyncio.all_tasks()) == 1


# -- what it takes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        (lambda: chunked(Source(1, 0), 0), ConfigError, r"chunked\(size=0\): must be a whole number, 1 or more"),
        (lambda: chunked(Source(1, 0), 2.5), ConfigError, "must be a whole number"),
        (lambda: chunked(Source(1, 0), 2, within=-1), ConfigError, r"chunked\(within=-1\): must be seconds"),
        (lambda: chunked(Source(1, 0), 2, within="1"), ConfigError, "must be seconds"),
        (
            lambda: chunked([1, 2], 2),
            TypeError,
            r"chunked\(\) takes an asynchronous iterable, not \[1, 2\]: .* itertools.batched",
        ),
        (lambda: chunked(forever, 2), TypeError, r"not forever: call it, forever\(\)"),
        (lambda: chunked(Work([1]), 2), TypeError, r"takes an asynchronous iterable, .*: give it to amap\(\)"),
    ],
)
def test_settings_that_cannot_work(written: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        written()


@TIMES
async def test_two_tasks_at_once(within: float | None) -> None:
    async with chunked(Source(None, 3), 2, within=within) as lists:
        first = asyncio.ensure_future(anext(lists))
        await ticks(1)
        with pytest.raises(RuntimeError, match="one task pulls at a time"):
            await anext(lists)
        assert await first == [0, 1]
