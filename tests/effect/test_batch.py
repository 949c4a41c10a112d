"""`batch`: calls of one item, collected and made as one call of a list."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    Effect,
    Timeout,
    amap,
    batch,
    gather,
)
from mountain_runtime.errors import ConfigError
from mountain_runtime.testing import VirtualClock

from .support import LONG, Boom, Stop, ticks

#: Time is virtual on asyncio's own loops only.
virtual = pytest.mark.asyncio(loop_factories=["asyncio"])

lists: list[list[int]] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    lists.clear()


async def tenfold(ids: list[int]) -> list[int]:
    lists.append(ids)
    await asyncio.sleep(0)
    return [each * 10 for each in ids]


@batch(100)
async def load(ids: list[int]) -> list[int]:
    return await tenfold(ids)


def loads(size: int = 100, *policies: Any, wait: float = 0) -> Callable[[int], Effect[int]]:
    return batch(size, *policies, wait=wait)(tenfold)


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# -- what is collected ------------------------------------------------------------------------------------------


async def test_calls_of_one_turn_are_one_batch() -> None:
    assert await asyncio.gather(*(load(each) for each in range(5))) == [0, 10, 20, 30, 40]
    assert lists == [[0, 1, 2, 3, 4]]


async def test_a_batch_has_size_items_at_most() -> None:
    of_two = loads(2)
    assert await gather([of_two(each) for each in range(5)]) == [0, 10, 20, 30, 40]
    assert lists == [[0, 1], [2, 3], [4]]


async def test_a_batch_of_one_begins_at_once() -> None:
    assert await outcomes(*(loads(1)(each) for each in (1, 2))) == [10, 20]
    assert lists == [[1], [2]]


async def test_equal_items_are_not_merged() -> None:
    assert await gather(load(1), load(1)) == (10, 10)
    assert lists == [[1, 1]]


async def test_an_item_needs_no_hash() -> None:
    @batch(10)
    async def sizes(of: list[list[int]]) -> list[int]:
        return [len(each) for each in of]

    assert await gather(sizes([]), sizes([1, 2])) == (0, 2)


async def test_calls_of_a_later_turn_are_another_batch() -> None:
    first = asyncio.create_task(load(1))
    await ticks(3)
    assert [await load(2), await first] == [20, 10]
    assert lists == [[1], [2]]


@virtual
async def test_it_waits_so_long_from_its_first_item(virtual_clock: VirtualClock) -> None:
    slow = loads(3, wait=1)
    first = asyncio.create_task(slow(1))
    await virtual_clock.advance(0.9)
    second = asyncio.create_task(slow(2))
    await virtual_clock.advance(0.09)
    assert lists == []
    await virtual_clock.advance(0.02)
    assert lists == [[1, 2]]
    assert await outcomes(first, second) == [10, 20]


@virtual
async def test_a_full_batch_does_not_wait(virtual_clock: VirtualClock) -> None:
    slow = loads(2, wait=LONG)
    begun = virtual_clock.time()
    assert await gather(slow(1), slow(2)) == (10, 20)
    assert virtual_clock.time() == begun
    last = asyncio.create_task(slow(3))  # has a wait of its own
    await virtual_clock.advance(LONG - 1)
    assert not last.done()
    await virtual_clock.advance(1)
    assert await last == 30


async def test_without_an_end_to_its_wait_it_begins_when_it_is_full() -> None:
    endless = loads(2, wait=float("inf"))
    first = asyncio.create_task(endless(1))
    await ticks()
    assert await endless(2) == 20
    assert await first == 10


async def test_inside_amap() -> None:
    async with amap(load, range(6), limit=3, ordered=True) as results:
        assert [result async for _, result in results] == [0, 10, 20, 30, 40, 50]
    assert len(lists[0]) == 3


# -- what is given back ------------------------------------------------------------------------------------------


async def test_an_exception_among_the_results_is_that_items() -> None:
    @batch(10)
    async def some(ids: list[int]) -> Sequence[int | Exception]:
        return tuple(Boom(str(each)) if each == 2 else each for each in ids)

    one, two, three = await outcomes(some(1), some(2), some(3))
    assert (one, type(two), str(two), three) == (1, Boom, "2", 3)


async def test_a_failure_of_the_function_is_everyones() -> None:
    failure = Boom()

    @batch(10)
    async def fails(ids: list[int]) -> list[int]:
        raise failure

    assert await outcomes(fails(1), fails(2)) == [failure, failure]
    lines = failure.__traceback__
    depth = 0
    while lines is not None:
        depth, lines = depth + 1, lines.tb_next
    assert depth < 10  # it does not grow with the callers


@pytest.mark.parametrize("error", [Stop(), asyncio.CancelledError("its own")])
async def test_what_is_no_mere_failure_reaches_all(error: BaseException) -> None:
    @batch(10)
    async def ends(ids: list[int]) -> list[int]:
        raise error

    found: list[BaseException] = []

    async def call(item: int) -> None:
        try:
            await ends(item)
        except BaseException as raised:
            found.append(raised)

    await asyncio.gather(call(1), call(2))
    assert [type(each) for each in found] == [type(error)] * 2


async def test_an_exit_is_raised_where_it_is_awaited() -> None:
    @batch(10)
    async def leaves(ids: list[int]) -> list[int]:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await leaves(1)


async def test_a_stop_iteration_is_a_runtime_error() -> None:
    @batch(10)
    async def stops(ids: list[int]) -> list[Any]:
        return [StopIteration(1), StopAsyncIteration(), 3]

    one, two, three = await outcomes(stops(1), stops(2), stops(3))
    assert (type(one), type(one.__cause__), three) == (RuntimeError, StopIteration, 3)
    assert (type(two), type(two.__cause__)) == (RuntimeError, StopAsyncIteration)


@pytest.mark.parametrize("given", [[], [1], [1, 2, 3]])
async def test_a_wrong_length_says_both(given: list[int]) -> None:
    @batch(10)
    async def other(ids: list[int]) -> list[int]:
        return given

    for error in await outcomes(other(1), other(2)):
        assert isinstance(error, ValueError)
        assert str(error).startswith(f"other (batch) gave {len(given)} results for 2 items")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "None"),
        ({1: 1, 2: 2}, "a dict"),
        ((each for each in (1, 2)), "a generator"),
        ("ab", "a str"),
        (b"ab", "a bytes"),
        ({1, 2}, "a set"),
        (2, "a int"),
    ],
)
async def test_what_is_no_list_is_an_error(given: Any, said: str) -> None:
    @batch(10)
    async def odd(ids: list[int]) -> Any:
        return given

    for error in await outcomes(odd(1), odd(2)):
        assert isinstance(error, TypeError)
        assert str(error) == f"odd (batch) must give a list with a result for each of its 2 items, and gave {said}"


async def test_a_sync_function_that_gives_an_awaitable() -> None:
    class Loader:
        async def __call__(self, ids: list[int]) -> list[int]:
            return ids

    assert await batch(10)(Loader())(4) == 4


# -- what it is ----------------------------------------------------------------------------------------------------


async def test_a_call_is_an_effect() -> None:
    call = load(7)
    assert isinstance(call, Effect)
    assert (repr(call), call.__name__, load.__doc__) == ("<Effect load(7)>", "load", None)
    assert [await call, await call, await call.map(str)] == [70, 70, "70"]
    limited = load(7).under(Timeout(2))
    assert repr(limited) == "<Effect load(7).under(Timeout(2))>"
    limited.close()
    with pytest.raises(TypeError):
        load(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        load(ids=1)  # type: ignore[call-arg]


async def test_it_is_named_and_pickled_as_its_function() -> None:
    assert pickle.loads(pickle.dumps(load)) is load
    named = batch(3, name="users")(tenfold)(1)
    assert (repr(named), await named) == ("<Effect users(1)>", 10)


async def test_methods_are_batched_bound_or_static() -> None:
    class Client:
        factor = 3

        def __init__(self) -> None:
            self.load = batch(10)(self._load)

        async def _load(self, ids: list[int]) -> list[int]:
            return [each * self.factor for each in ids]

        @batch(10)
        @staticmethod
        async def double(ids: list[int]) -> list[int]:
            return [each * 2 for each in ids]

    assert await gather(Client().load(1), Client().load(2), Client.double(4)) == (3, 6, 8)


def takes_two(a: list[int], b: int) -> Any: ...


async def not_one(self: Any, ids: list[int]) -> list[int]:
    return ids


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: batch(0), "size=0"),
        (lambda: batch(-1), "size=-1"),
        (lambda: batch(True), "size=True"),
        (lambda: batch(1.5), "size=1.5"),  # type: ignore[arg-type]
        (lambda: batch(2, wait=-1), "wait=-1"),
        (lambda: batch(2, wait=float("nan")), "wait=nan"),
        (lambda: batch(2, name=""), "name=''"),
        (lambda: batch(2, Cache(ttl=1)), "put it around the call of one item"),
        (lambda: batch(2, 3), "3 is not a policy"),  # type: ignore[arg-type]
        (lambda: batch(2)(takes_two), "make it `async def`"),
        (lambda: batch(2)(not_one), "one list alone"),  # type: ignore[arg-type]
        (lambda: batch(2)(5), "5 is no function"),  # type: ignore[arg-type]
        (lambda: batch(2)(generates), "a batch has one result"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_work(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make()
    assert said in str(raised.value)


async def generates(ids: list[int]) -> Any:
    yield ids


async def test_a_key_is_asked_with_the_list() -> None:
    by_length = ConcurrencyLimit(1, key=len)
    assert await gather(loads(2, by_length)(1), loads(2, by_length)(2)) == (10, 20)
