"""Policies around a batch and around one call of it, and the context in which a batch runs."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Effect,
    Fallback,
    Key,
    Priority,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    batch,
    constant,
    deadline,
    gather,
    need,
    priority,
)
from mountain_runtime._native import current_deadline, priority_var
from mountain_runtime.errors import Reentered, TimedOut

from .support import LONG, Boom

lists: list[list[int]] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    lists.clear()


async def tenfold(ids: list[int]) -> list[int]:
    lists.append(ids)
    await asyncio.sleep(0)
    return [each * 10 for each in ids]


def loads(size: int = 100, *policies: Any, wait: float = 0) -> Callable[[int], Effect[int]]:
    return batch(size, *policies, wait=wait)(tenfold)


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# -- policies ------------------------------------------------------------------------------------------------------


async def test_policies_stand_around_the_batch() -> None:
    fails = [Boom(), Boom()]

    @batch(10, Retry(on=Boom, attempts=3, backoff=constant(0)))
    async def flaky(ids: list[int]) -> list[int]:
        lists.append([*ids])
        ids.clear()  # the next attempt has a list of its own
        if fails:
            raise fails.pop()
        return [each * 10 for each in lists[-1]]

    assert await gather(flaky(1), flaky(2)) == (10, 20)
    assert lists == [[1, 2]] * 3


async def test_a_timeout_of_the_batch_names_it() -> None:
    @batch(10, Timeout(0.001))
    async def hangs(ids: list[int]) -> list[int]:
        await asyncio.sleep(LONG)
        return ids

    for error in await outcomes(hangs(1), hangs(2)):
        assert isinstance(error, TimedOut)
        assert error.effect == "hangs (batch)"


async def test_policies_of_one_call_are_that_calls() -> None:
    @batch(10)
    async def late(ids: list[int]) -> list[int | Exception]:
        await asyncio.sleep(0.05)
        return [each if each < 3 else Boom() for each in ids]

    cache = Cache(ttl=LONG)
    got = await outcomes(
        late(1).under(Timeout(0.001)), late(2).under(cache), late(3).under(Fallback(lambda _: -1, on=Boom)), late(4)
    )
    assert [type(got[0]), got[1], got[2], type(got[3])] == [TimedOut, 2, -1, Boom]
    assert await late(2).under(cache) == 2
    cache.invalidate(2)
    assert cache.statistics()["size"] == 0


async def test_a_retry_of_one_call_joins_another_batch() -> None:
    @batch(10)
    async def once(ids: list[int]) -> list[int | Exception]:
        lists.append(ids)
        return [Boom() if each == 2 and len(lists) == 1 else each for each in ids]

    assert await gather(once(1), once(2).under(Retry(on=Boom, backoff=constant(0)))) == (1, 2)
    assert lists == [[1, 2], [2]]


async def test_limits_count_batches() -> None:
    limit, breaker = ConcurrencyLimit(1), CircuitBreaker(failures=1)
    of_two = loads(2, breaker, limit, RateLimit(1000, per=1))
    assert await gather([of_two(each) for each in range(4)]) == [0, 10, 20, 30]
    assert lists == [[0, 1], [2, 3]]


async def test_what_would_wait_for_itself_is_refused() -> None:
    limit = ConcurrencyLimit(1)
    inside = loads(10, limit)
    with pytest.raises(Reentered):
        await limit.call(inside, 1)


async def test_a_batch_may_load_itself() -> None:
    @batch(10)
    async def tree(ids: list[int]) -> list[int]:
        lists.append(ids)
        return [each + (await tree(each - 1) if each else 0) for each in ids]

    assert await tree(3) == 6
    assert lists == [[3], [2], [1], [0]]


# -- context -------------------------------------------------------------------------------------------------------

kept = ContextVar("kept", default="")


async def test_it_runs_in_a_copy_of_the_first_callers_context() -> None:
    @batch(10)
    async def seen(ids: list[int]) -> list[Any]:
        found = kept.get(), priority_var.get(Priority.NORMAL)
        kept.set("changed")
        return [found] * len(ids)

    async def call(item: int, text: str, urgent: Priority) -> Any:
        kept.set(text)
        with priority(urgent):
            return await seen(item), kept.get()

    first, second = await asyncio.gather(call(1, "a", Priority.LOW), call(2, "b", Priority.HIGH))
    assert first == (("a", Priority.LOW), "a")
    assert second == (("a", Priority.LOW), "b")


async def limited(seconds: float | None, call: Effect[Any]) -> Any:
    if seconds is None:
        return await call
    async with deadline(seconds):
        return await call


@pytest.mark.parametrize(("limits", "latest"), [((5, 9, 7), 9), ((5, None), None), ((None,), None), ((5,), 5)])
async def test_its_deadline_is_the_latest_of_its_items(limits: tuple[float | None, ...], latest: float | None) -> None:
    @batch(10)
    async def left(ids: list[int]) -> list[float | None]:
        limit = current_deadline()
        return [None if limit is None else limit.remaining()] * len(ids)

    for found in await asyncio.gather(*(limited(each, left(1)) for each in limits)):
        assert found == (None if latest is None else pytest.approx(latest, abs=1))


async def test_a_timeout_of_a_call_is_its_items_deadline() -> None:
    @batch(10)
    async def left(ids: list[int]) -> list[float]:
        limit = current_deadline()
        return [0.0 if limit is None else limit.remaining()] * len(ids)

    assert await left(1).under(Timeout(7)) == pytest.approx(7, abs=1)


async def test_it_gets_its_services() -> None:
    store = Key[int]("store")

    @batch(10)
    async def stored(ids: list[int], factor: int = need(store)) -> list[int]:
        return [each * factor for each in ids]

    async with Runtime().provide(store, lambda: _of(7)) as runtime:
        assert await gather(stored(1), stored(2)) == (7, 14)
        assert {"stored", "stored (batch)"} <= set(runtime.statistics().effects)


class _of:  # noqa: N801 - a service as a block
    def __init__(self, value: int) -> None:
        self.value = value

    async def __aenter__(self) -> int:
        return self.value

    async def __aexit__(self, *_: object) -> None: ...
