"""Work that grows: each item is handled once, and the end comes when all is handled and nothing was added."""

import asyncio
from collections.abc import Awaitable, Hashable
from typing import Any, cast

import pytest

from mountain_runtime import Work, amap, effect
from mountain_runtime._native import trial_noop as noop
from mountain_runtime.errors import ConfigError

from .crawl import REACHED, crawled, links
from .support import Boom, forever, ticks, value

# -- how it grows, and ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 20])
async def test_the_loop_adds_what_a_result_has(limit: int) -> None:
    work = Work([0])
    assert sorted(await crawled(effect(links), work, limit)) == REACHED
    assert (len(work), work.done) == (9, 9)


@pytest.mark.parametrize("limit", [1, 2, 20])
async def test_the_function_adds_what_it_finds(limit: int) -> None:
    work = Work([0])

    async def visit(page: int) -> None:
        for link in await links(page):
            work.add(link)
            await ticks(1)

    assert sorted(await crawled(visit, work, limit)) == REACHED


async def test_in_order() -> None:
    """The order of the items is the one in which they were added."""
    work = Work([0])
    assert await crawled(links, work, 4, ordered=True) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_function_that_adds_before_it_gives_its_awaitable() -> None:
    """The call of one is within no call of another."""
    work = Work([0])
    depth = deepest = 0

    def visit(n: int) -> Awaitable[None]:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if n < 2000:
            work.add(n + 1)
        depth -= 1
        return value(None)

    assert await crawled(visit, work) == list(range(2001))
    assert deepest == 1


async def test_what_the_function_adds_begins_while_it_is_under_way() -> None:
    work = Work(["outer"])
    inner = asyncio.Event()

    async def visit(name: str) -> None:
        if name == "inner":
            inner.set()
        else:
            work.add("inner")
            await inner.wait()

    async with amap(visit, work, limit=2) as results:
        assert [name async for name, _ in results] == ["inner", "outer"]


async def test_what_the_loop_adds_begins_while_it_handles_the_result() -> None:
    work = Work([0])
    begun = [asyncio.Event() for _ in range(4)]

    async def visit(n: int) -> None:
        begun[n].set()

    async with amap(visit, work, limit=1) as results:
        async for n, _ in results:
            if n < 3:  # each time anew
                work.add(n + 1)
                await begun[n + 1].wait()
    assert work.done == 4


async def test_what_was_added_before_it_begins() -> None:
    work = Work[int]()
    assert work.add(1)
    assert sorted(await crawled(links, work)) == REACHED


async def test_no_work_at_all() -> None:
    assert await crawled(links, Work[int]()) == []


async def test_results_that_are_not_taken_hold_their_places() -> None:
    """A loop that is slow holds back the function, and so what that adds."""
    begun: list[int] = []
    work = Work([0])

    async def visit(n: int) -> None:
        begun.append(n)
        work.add(2 * n + 1)
        work.add(2 * n + 2)

    async with amap(visit, work, limit=4) as results:
        for taken in range(1, 20):
            await anext(results)
            await ticks(20)
            assert len(begun) <= taken + 4
            assert len(work) <= 1 + 2 * len(begun)


# -- what is added ---------------------------------------------------------------------------------------------------


async def test_items_with_equal_keys_are_one() -> None:
    work = Work(["a#1"], key=lambda url: url.partition("#")[0])
    assert not work.add("a#2")
    assert work.add("b#1")
    assert not work.add("b#1")
    async with amap(value, work, limit=2) as results:
        assert sorted([url async for url, _ in results]) == ["a#1", "b#1"]


async def test_a_key_for_items_that_have_no_hash() -> None:
    work = Work([{"id": 1}, {"id": 1}, {"id": 2}], key=lambda row: row["id"])
    assert len(work) == 2
    with pytest.raises(TypeError, match=r"and \['a'\] has no hash: make its key= give something hashable"):
        Work[Any]().add(["a"])
    with pytest.raises(TypeError, match="has no hash"):
        Work([1], key=lambda n: cast("Hashable", [n]))


async def test_an_error_of_the_key_is_the_adders() -> None:
    def key(n: int) -> int:
        if n == 2:
            raise Boom
        return n

    work = Work([1], key=key)
    async with amap(noop, work, limit=1) as results:
        async for _ in results:
            with pytest.raises(Boom):
                work.add(2)
    assert (len(work), work.done) == (1, 1)


@pytest.mark.parametrize("key", ["url", 5, effect(links), links, lambda: 1, lambda a, b: 1])
def test_keys_that_are_no_function_of_an_item(key: Any) -> None:
    with pytest.raises(ConfigError, match=r"Work\(key=.*: must be a plain function of one item"):
        Work([1], key=key)


@pytest.mark.parametrize("items", ["https://example.org", b"x", 5, forever])
def test_first_items_that_are_none(items: Any) -> None:
    with pytest.raises(TypeError, match=r"Work\(\) takes an iterable of its first items.*: write Work\(\[item\]\)"):
        Work(items)


async def test_how_far_it_is() -> None:
    work = Work([0, 1])
    assert (len(work), work.done, repr(work)) == (2, 0, "<Work 0 of 2 done>")
    async with amap(noop, work, limit=1, ordered=True) as results:
        await anext(results)
        assert repr(work) == "<Work 1 of 2 done>"
        work.add(2)
        assert (len(work), work.done) == (3, 1)
        assert len(cast("Any", results)) == 3


async def test_the_results_know_how_many_items_there_are() -> None:
    async with amap(noop, [1, 2, 3], limit=1) as results:
        assert len(cast("Any", results)) == 3
    async with amap(noop, [], limit=1) as results:
        assert len(cast("Any", results)) == 0
        assert results
    async with amap(noop, iter([1]), limit=1) as results:
        with pytest.raises(TypeError, match="the number of items is unknown: list_iterator has no len"):
            len(cast("Any", results))
        assert results


# -- where it must not be added to ----------------------------------------------------------------------------------


async def test_after_its_end() -> None:
    work = Work([7])
    await crawled(links, work)
    with pytest.raises(
        RuntimeError, match=r"after the end of its amap.*: add items in the loop that takes the results"
    ):
        work.add(2)


async def test_after_the_loop_and_in_the_block() -> None:
    work = Work([1])
    async with amap(noop, work, limit=1) as results:
        async for _ in results:
            pass
        with pytest.raises(RuntimeError, match="after the end"):
            work.add(2)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_after_a_block_that_was_left_early() -> None:
    work = Work([1, 2])
    async with amap(noop, work, limit=1) as results:
        await anext(results)
    with pytest.raises(RuntimeError, match="after the end"):
        work.add(1)


async def test_for_one_amap_only() -> None:
    work = Work([1])
    async with amap(noop, work, limit=1) as results:
        with pytest.raises(RuntimeError, match="a Work is for one amap: make another"):
            async with amap(noop, work, limit=1):
                pass
        assert [n async for n, _ in results] == [1]
    with pytest.raises(RuntimeError, match="a Work is for one amap: make another"):
        async with amap(noop, work, limit=1):
            pass


async def test_from_a_thread_and_another_loop() -> None:
    work = Work([1])

    async def adds() -> None:
        work.add(2)

    async with amap(noop, work, limit=1) as results:
        for elsewhere in (lambda: work.add(2), lambda: asyncio.run(adds())):
            with pytest.raises(RuntimeError, match=r"on the event loop of its amap: give what you find on a thread"):
                await asyncio.to_thread(elsewhere)
        asyncio.get_running_loop().call_soon(work.add, 3)
        await ticks(1)
        assert sorted([n async for n, _ in results]) == [1, 3]
