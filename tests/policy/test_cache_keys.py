"""Cache: under which key a value stands, and how it is forgotten."""

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    Timeout,
    effect,
    gather,
)

from .sources import Source, eventually
from .support import AT_ONCE, LONG, Boom

# -- keys ----------------------------------------------------------------------------------------------------


async def test_one_call_is_one_key_however_it_is_written() -> None:
    source = Source()

    @effect(Cache(ttl=LONG))
    async def get(x: int, y: int = 0, *, z: int = 5) -> int:
        return await source.get(x, y)

    assert len({await get(1), await get(x=1), await get(1, y=0), await get(y=0, x=1), await get(1, 0, z=5)}) == 1
    assert len({await get(1), await get(1, 2), await get(1, z=6)}) == 3


async def test_what_is_given_by_name_is_no_argument_by_position() -> None:
    @effect(Cache(ttl=LONG))
    async def get(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert await get(("a", 1)) == ((("a", 1),), {})
    assert await get(a=1) == ((), {"a": 1})
    assert await get(b=2, a=1) is await get(a=1, b=2)


async def test_a_method_is_kept_by_the_identity_of_self() -> None:
    class Api:
        def __init__(self) -> None:
            self.gets = 0

        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody asks whether two of them are equal")

        __hash__ = None  # type: ignore[assignment]

        @effect(Cache(ttl=LONG))
        async def get(self, x: int) -> int:
            self.gets += 1
            return self.gets

    one, two = Api(), Api()
    assert [await one.get(1), await one.get(x=1), await two.get(1), await one.get(2)] == [1, 1, 1, 2]
    assert (one.gets, two.gets) == (2, 1)


async def test_a_bound_method_of_anybody() -> None:
    one, two, cache = Source(), Source(), Cache(ttl=LONG)
    for _ in range(3):
        assert await cache.call(one.get, 1) == 1
        assert await cache.call(two.get, 1) == 1
    assert one.asked == two.asked == [1]


async def test_functions_that_share_a_cache_share_its_room_alone() -> None:
    cache = Cache(ttl=LONG, max_size=3)
    one, two = Source(), Source()

    @effect(cache)
    async def first(x: int) -> int:
        return await one.get(x)

    @effect(cache)
    async def second(x: int) -> int:
        return await two.get(x) + 100

    assert [await first(1), await second(1), await first(1), await second(1)] == [1, 101, 1, 101]
    assert cache.statistics()["size"] == 2
    await gather([first(2), second(2), first(3)])
    assert cache.statistics()["size"] == 3


async def test_the_same_function_twice_under_one_cache_shares_its_values() -> None:
    source, cache = Source(), Cache(ttl=LONG)
    assert await effect(source.get)(1).under(cache) == 1
    assert await effect(Timeout(LONG))(source.get)(1).under(cache) == 1
    assert await cache.call(source.get, 1) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [(({},), {}, "'x'"), ((1, []), {}, "'y'"), ((), {"x": 1, "z": {1}}, "'z'"), ((1, 2, 3, []), {}, "'more'")],
)
async def test_an_argument_without_a_hash_is_named(args: Any, kwargs: Any, named: str) -> None:
    """L11."""

    @effect(Cache(ttl=LONG), name="lookup")
    async def lookup(x: Any, y: Any = 0, *more: Any, z: Any = 0) -> int:
        raise AssertionError("it is not called")

    with pytest.raises(TypeError, match=r"effect 'lookup' is cached by its arguments.*has no hash.*key=") as raised:
        await lookup(*args, **kwargs)
    assert named in str(raised.value)


async def test_a_key_that_cannot_be_compared_says_so_itself() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise Boom("no comparison")

    get = effect(Cache(ttl=LONG))(Source().get)
    await get(Odd())
    with pytest.raises(Boom, match="no comparison"):
        await get(Odd())


async def test_key_makes_the_key_of_the_arguments() -> None:
    source = Source()

    @effect(Cache(ttl=LONG, key=lambda user, fields=None: user["id"]))
    async def get(user: dict[str, int], fields: list[str] | None = None) -> int:
        return await source.get(user["id"])

    assert [await get({"id": 1}), await get(user={"id": 1, "x": 2}), await get({"id": 2}, [])] == [1, 1, 2]

    bad = effect(Cache(ttl=LONG, key=lambda x: [x]), name="bad")(Source().get)
    with pytest.raises(TypeError, match="effect 'bad' is cached by a key that has no hash"):
        await bad(1)


# -- forgetting ----------------------------------------------------------------------------------------------


async def test_invalidate_takes_a_calls_arguments_as_they_may_be_written() -> None:
    source, cache = Source(), Cache(ttl=LONG)

    @effect(cache)
    async def get(x: int, y: int = 0) -> int:
        return await source.get(x, y)

    for times, forget in enumerate([lambda: cache.invalidate(1), lambda: cache.invalidate(x=1, y=0)], 2):
        await get(1)
        await get(2)
        forget()
        assert await get(1) == times + 1
    assert source.asked == [1, 2, 1, 1]
    cache.invalidate(7)  # nothing is there
    cache.invalidate(1, 2, 3, 4)  # no call
    cache.invalidate(nonsense=1)
    await get(1)
    await get(2)
    assert len(source.asked) == 4


async def test_invalidate_is_for_every_function_that_shares_the_cache() -> None:
    one, two, cache = Source(), Source(), Cache(ttl=LONG)

    class Api:
        @effect(cache)
        async def get(self, x: int) -> int:
            return await two.get(x)

    @effect(cache)
    async def get(x: int) -> int:
        return await one.get(x)

    api = Api()
    for _ in range(2):
        await get(1)
        await api.get(1)
        await api.get(2)
    cache.invalidate(1)
    cache.invalidate(api, 1)
    await get(1)
    await api.get(1)
    await api.get(2)
    assert one.asked == [1, 1]
    assert two.asked == [1, 2, 1]


async def test_invalidate_with_a_key() -> None:
    source = Source()
    cache = Cache(ttl=LONG, key=lambda x, y=0: x % 10)
    get = effect(cache)(source.get)
    assert [await get(1), await get(11)] == [1, 1]
    cache.invalidate(x=21)
    assert await get(1) == 2


@pytest.mark.parametrize("forget", ["clear", "invalidate"])
async def test_what_is_forgotten_while_it_is_under_way_is_for_those_who_wait(forget: str) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[int] = []
    cache = Cache(ttl=LONG)

    @effect(cache)
    async def get() -> int:
        number = len(begun)
        begun.append(number)
        await gates[number].wait()
        return number

    async def ask() -> int:
        return await get()

    async def begins(runs: int) -> "asyncio.Task[int]":
        task = asyncio.create_task(ask())
        await eventually(lambda: len(begun) == runs)
        return task

    before = await begins(1)
    if forget == "clear":
        cache.clear()
    else:
        cache.invalidate()
    after = await begins(2)  # a later caller has another run
    gates[1].set()
    assert await after == 1
    gates[0].set()
    assert await before == 0
    assert await get() == 1  # the older run's value, which came later, has not replaced it


async def test_a_thousand_methods_of_one_cache_are_forgotten_quickly() -> None:
    cache = Cache(ttl=LONG, max_size=10_000)
    sources = [Source() for _ in range(5_000)]
    for source in sources:
        await cache.call(source.get, 1)
    began = time.thread_time()  # of this thread, since the tests beside it take their share of the clock
    cache.invalidate(1)
    assert time.thread_time() - began < AT_ONCE
    assert cache.statistics()["size"] == 0


async def test_values_go_with_their_cache_even_in_a_ring() -> None:
    class Value: ...

    def ring() -> tuple["weakref.ref[Value]", Any]:
        value = Value()
        cache = Cache(ttl=LONG)

        @effect(cache)
        async def get(_: Any) -> Value:
            return value

        value.back = get  # type: ignore[attr-defined]
        return weakref.ref(value), get

    ref, get = ring()
    await get(1)
    del get
    await asyncio.sleep(0)
    gc.collect()
    assert ref() is None
