"""Batches of methods, calls that need no task, and what a batch counts and keeps."""

import asyncio
import weakref
from collections.abc import Awaitable
from typing import Any

import pytest

from mountain_runtime import Runtime, Timeout, amap, batch, deadline, gather
from mountain_runtime.errors import TimedOut

from .support import Boom, collect, ticks

lists: list[list[int]] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    lists.clear()


@batch(100)
async def load(ids: list[int]) -> list[int]:
    lists.append(ids)
    await asyncio.sleep(0)
    return [each * 10 for each in ids]


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


class Client:
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.lists: list[list[int]] = []

    @batch(10)
    async def load(self, ids: list[int]) -> list[int]:
        self.lists.append(ids)
        return [each * self.factor for each in ids]

    @batch(10)
    @classmethod
    async def name(cls, ids: list[int]) -> list[str]:
        return [f"{cls.__name__} {each} of {len(ids)}" for each in ids]


class Narrow(Client): ...


async def test_each_object_has_batches_of_its_own() -> None:
    one, two = Client(10), Client(100)
    assert await gather(one.load(1), two.load(2), one.load(3)) == (10, 200, 30)
    assert (one.lists, two.lists) == ([[1, 3]], [[2]])


async def test_each_class_of_a_class_method_too() -> None:
    assert await gather(Client.name(1), Narrow.name(2), Client(1).name(3)) == (
        "Client 1 of 2",
        "Narrow 2 of 1",
        "Client 3 of 2",
    )


async def test_a_batch_does_not_keep_its_object() -> None:
    client = Client(1)
    gone = weakref.ref(client)
    assert await client.load(1) == 1
    await ticks()  # a caller goes on while the results are still given out
    del client
    collect()
    assert gone() is None


async def test_a_call_makes_no_task() -> None:
    tasks: list[set[asyncio.Task[Any]]] = []

    @batch(100)
    async def notes(ids: list[int]) -> list[int]:
        tasks.append(asyncio.all_tasks())
        return ids

    before = asyncio.all_tasks()
    assert await notes(1) == 1
    assert await gather([notes(each) for each in range(50)]) == [*range(50)]
    async with amap(notes, range(50), limit=50, ordered=True) as results:
        assert [item async for item, _ in results] == [*range(50)]
    assert [len(each - before) for each in tasks[:3]] == [1, 1, 1]  # the batch's own


async def test_calls_with_and_without_a_task_are_one_batch() -> None:
    assert await gather(load(1), load(2).under(Timeout(5)), load(3).map(str)) == (10, 20, "30")
    assert lists == [[1, 2, 3]]


async def test_each_call_is_counted_however_it_ends() -> None:
    name = f"counted {id(asyncio.get_running_loop())}"

    @batch(10, name=name)
    async def some(ids: list[int]) -> list[int | Exception]:
        await asyncio.sleep(0)
        return [Boom() if each == 2 else each for each in ids]

    async with Runtime() as runtime:
        left = asyncio.ensure_future(some(3))
        calls = asyncio.gather(some(1), some(2), return_exceptions=True)
        await asyncio.sleep(0)
        left.cancel()
        await outcomes(calls, left)
        seen = runtime.statistics().effects[name]
        assert (seen.started, seen.succeeded, seen.failed, seen.cancelled) == (3, 1, 1, 1)
        assert runtime.statistics().effects[f"{name} (batch)"].succeeded == 1


async def test_a_deadline_that_has_passed_refuses_a_call() -> None:
    with pytest.raises(TimedOut):
        async with deadline(0):
            await load(1)
    assert lists == []


async def test_an_error_that_many_raise_keeps_its_traceback() -> None:
    failure = Boom()

    @batch(10)
    async def shares(ids: list[int]) -> list[Exception]:
        return [failure] * len(ids)

    for _ in range(3):
        for each in await outcomes(*(shares(each) for each in range(5))):
            assert each is failure
    depth, lines = 0, failure.__traceback__
    while lines is not None:
        depth, lines = depth + 1, lines.tb_next
    assert depth < 5


async def test_what_the_function_gave_may_change_after() -> None:
    given: list[int] = []

    @batch(10)
    async def reuses(ids: list[int]) -> list[int]:
        given[:] = ids
        asyncio.get_running_loop().call_soon(given.clear)
        return given

    assert await gather(reuses(1), reuses(2)) == (1, 2)


@pytest.mark.parametrize("of", [[], {}, (each for each in ()), None, object()])
async def test_any_object_is_an_item(of: Any) -> None:
    @batch(10)
    async def same(items: list[Any]) -> list[Any]:
        return items

    assert await same(of) is of


async def test_a_length_that_lies_is_an_error() -> None:
    class Lies(list[int]):
        def __len__(self) -> int:
            return 2

    @batch(10)
    async def lies(ids: list[int]) -> list[int]:
        return Lies([1, 2, 3])

    for error in await outcomes(lies(1), lies(2)):
        assert isinstance(error, ValueError)
