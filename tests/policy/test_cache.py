"""Cache: what is kept, and how long."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    RateLimit,
    Timeout,
    effect,
)
from mountain_runtime.errors import CircuitOpen, RateLimited, TimedOut

from .sources import Source, eventually, passed
from .support import AT_ONCE, LONG, SOON, Boom, Calls, Watch, forever

# -- what is kept --------------------------------------------------------------------------------------------


async def test_a_value_is_kept_and_given_to_all_who_ask_later() -> None:
    source = Source()
    cache = Cache(ttl=LONG)
    get = effect(cache)(source.get)
    assert [await get(1), await get(1), await get(2), await get(1)] == [1, 1, 2, 1]
    assert source.asked == [1, 2]
    assert cache.statistics() == {"hits": 2, "misses": 2, "stale_hits": 0, "evicted": 0, "size": 2}


async def test_it_is_kept_for_its_time() -> None:
    source = Source()
    get = effect(Cache(ttl=SOON))(source.get)
    assert [await get(1), await get(1)] == [1, 1]
    await passed(SOON)
    assert [await get(1), await get(1)] == [2, 2]


async def test_no_time_keeps_nothing_and_infinite_time_everything() -> None:
    source = Source()
    assert [await effect(Cache(ttl=0))(source.get)() for _ in range(3)] == [1, 2, 3]
    for ttl in (float("inf"), 1e300):
        get = effect(Cache(ttl=ttl))(Source().get)
        assert [await get() for _ in range(3)] == [1, 1, 1]


async def test_none_is_a_value_like_any_other() -> None:
    for nothing in (None, False, 0, ""):
        log: list[int] = []

        @effect(Cache(ttl=LONG))
        async def gives(nothing: Any = nothing, log: Any = log) -> Any:
            log.append(1)
            return nothing

        work = gives(log=_Hashable(log))
        assert [await work, await work] == [nothing] * 2
        assert len(log) == 1


class _Hashable(list[int]):
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, log: list[int]) -> None:
        self.append = log.append  # type: ignore[method-assign]


async def test_an_error_is_not_kept() -> None:
    calls = Calls(Boom("one"), Boom("two"), then_value=True)
    get = effect(Cache(ttl=LONG))(calls)
    for message in ("one", "two"):
        with pytest.raises(Boom, match=message):
            await get()
    assert [await get(), await get()] == [3, 3]


async def test_values_are_shared_not_copied() -> None:
    """L11: a caller that changes the value changes it for all."""

    @effect(Cache(ttl=LONG))
    async def rows() -> list[int]:
        return [1]

    first = await rows()
    first.append(2)
    assert await rows() is first
    assert await rows() == [1, 2]


async def test_a_generator_that_is_a_value_can_be_used_once_in_all() -> None:
    """L11: documented. What is kept is the object, and that is used up."""

    @effect(Cache(ttl=LONG))
    async def numbers() -> Iterator[int]:
        return iter([1, 2])

    assert list(await numbers()) == [1, 2]
    assert list(await numbers()) == []


async def test_size_5_20_keys_cleared_midway() -> None:
    """L9: every caller gets its result, whatever is cleared or thrown out meanwhile."""
    gate = asyncio.Event()
    cache = Cache(ttl=LONG, max_size=5)

    @effect(cache)
    async def double(x: int) -> int:
        await gate.wait()
        return 2 * x

    async def ask(x: int) -> int:
        return await double(x)

    asked = [asyncio.create_task(ask(x)) for x in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cache.clear()
    gate.set()
    assert await asyncio.gather(*asked) == [2 * x for x in range(20)]
    assert cache.statistics()["size"] == 0  # a run that was under way at the clear is of before
    assert [await double(x) for x in range(20)] == [2 * x for x in range(20)]
    assert cache.statistics()["size"] == 5
    assert cache.statistics()["evicted"] == 15
    misses = cache.statistics()["misses"]
    assert [await double(x) for x in range(15, 20)] == [30, 32, 34, 36, 38]
    assert cache.statistics()["misses"] == misses


async def test_the_one_not_asked_for_the_longest_goes_first() -> None:
    source = Source()
    get = effect(Cache(ttl=LONG, max_size=2))(source.get)
    for x in (1, 2, 1, 3, 1, 2):
        await get(x)
    assert source.asked == [1, 2, 3, 2]


async def test_it_keeps_values_and_no_tasks_contexts_or_frames() -> None:
    """L9: what a value is held with is the value."""

    class Value: ...

    class Local: ...

    gone: list[weakref.ref[Any]] = []

    @effect(Cache(ttl=LONG))
    async def get() -> Value:
        local, task = Local(), asyncio.current_task()
        gone.extend([weakref.ref(local), weakref.ref(task)])
        await asyncio.sleep(0)
        return Value()

    value = weakref.ref(await get())
    await asyncio.sleep(0)  # the flight's task is let go of by its loop
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert value() is not None
    assert await get() is value()


# -- out of date ---------------------------------------------------------------------------------------------


async def test_a_stale_value_is_given_at_once_while_one_run_fetches_another() -> None:
    gate = asyncio.Event()
    asked: list[int] = []
    cache = Cache(ttl=SOON, stale=LONG)

    @effect(cache)
    async def get() -> int:
        asked.append(1)
        if len(asked) > 1:
            await gate.wait()
        return len(asked)

    assert await get() == 1
    await passed(SOON)
    with Watch() as watch:
        assert [await get() for _ in range(10)] == [1] * 10
    assert watch.took < AT_ONCE
    await asyncio.sleep(0)
    assert len(asked) == 2
    assert cache.statistics()["stale_hits"] == 10
    gate.set()
    await eventually(lambda: cache.statistics()["size"] == 1 and len(asked) == 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await get() == 2


async def test_after_that_time_it_is_fetched_like_any_other() -> None:
    source = Source()
    get = effect(Cache(ttl=SOON / 2, stale=SOON / 2))(source.get)
    assert await get() == 1
    await passed(SOON)
    assert await get() == 2


@pytest.mark.parametrize("refusal", ["breaker", "rate", "fails", "times out"])
async def test_a_stale_value_is_served_when_the_inside_refuses_or_fails(refusal: str, complaints: list[str]) -> None:
    source = Source()
    breaker = CircuitBreaker()
    inner: dict[str, Any] = {
        "breaker": breaker,
        "rate": RateLimit(1, per=LONG, max_wait=0),
        "fails": Timeout(LONG),
        "times out": Timeout(0),
    }
    cache = Cache(ttl=SOON, stale=LONG)
    waits = [False]

    @effect(cache, inner[refusal])
    async def get() -> int:
        if waits[0]:
            await forever()
        return await source.get() if refusal != "times out" else 1

    assert await get() == 1
    await passed(SOON)
    breaker.isolate()
    source.error, waits[0] = Boom(), refusal == "times out"
    for _ in range(3):
        assert await get() == 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    cache.clear()
    expected = {"breaker": CircuitOpen, "rate": RateLimited, "fails": Boom, "times out": TimedOut}
    with pytest.raises(expected[refusal]):
        await get()
    gc.collect()
    assert complaints == []
