"""The needs of effects, methods, blocking functions and services stand in their signatures."""

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    Key,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    blocking,
    constant,
    effect,
    gather,
    need,
)
from mountain_runtime.errors import ConfigError, Rejected, ServiceMissing

from .support import Log

NUMBER = Key[int]("number")
WORDS = Key[list[str]]("words")


@asynccontextmanager
async def seven() -> AsyncGenerator[int]:
    yield 7


@effect(Timeout(5))
async def plus(n: int, number: int = need(NUMBER)) -> int:
    await asyncio.sleep(0)
    return n + number


class Api:
    @effect
    async def times(self, n: int, *, number: int = need(NUMBER)) -> int:
        return n * number


@blocking
def on_thread(n: int, number: int = need(NUMBER)) -> tuple[int, bool]:
    return n + number, threading.current_thread() is threading.main_thread()


async def test_effects_methods_and_blocking_functions_get_what_they_need() -> None:
    async with Runtime().provide(NUMBER, seven) as runtime:
        assert await plus(1) == 8
        assert await Api().times(3) == 21
        assert await on_thread(1) == (8, False)
        assert await gather(plus(1), plus(2, number=1), plus(3, 1)) == (8, 3, 4)
        assert await runtime.submit(plus(2)) == 9
        assert await asyncio.to_thread(runtime.from_thread, plus(5)) == 12


async def test_an_argument_asks_for_nothing_and_works_without_a_runtime() -> None:
    assert await plus(1, 2) == 3
    assert await plus(1, number=2) == 3
    assert await Api().times(2, number=4) == 8
    assert (await on_thread(1, 2))[0] == 3


async def test_without_the_service_it_is_never_started_and_says_what_to_do() -> None:
    with pytest.raises(ServiceMissing, match=r"'plus'.*needs number.*provide") as caught:
        await plus(1)
    assert isinstance(caught.value, Rejected)
    assert caught.value.effect == "plus"
    async with Runtime():
        with pytest.raises(ServiceMissing, match="number is not provided"):
            await plus(1)
        with pytest.raises(ServiceMissing):
            await on_thread(1)


async def test_it_is_looked_up_when_the_effect_begins_and_each_time() -> None:
    effect_ = plus(1)
    asked = 0

    @effect(Retry(on=ServiceMissing, attempts=3, backoff=constant(0)))
    async def retried(number: int = need(NUMBER)) -> int:
        return number

    async with Runtime().provide(NUMBER, seven):
        assert await effect_ == 8
        assert await effect_ == 8
        assert await retried() == 7
    with pytest.raises(ServiceMissing, match="not"):
        await retried()
    assert asked == 0


async def test_a_handler_that_has_not_the_context_finds_the_runtime_by_its_loop() -> None:
    from contextvars import Context

    async with Runtime().provide(NUMBER, seven):
        task = asyncio.get_running_loop().create_task(plus(1).map(lambda n: n), context=Context())
        assert await task == 8


def test_frameworks_do_not_see_the_parameters_that_we_fill() -> None:
    assert list(inspect.signature(plus).parameters) == ["n"]
    assert list(inspect.signature(Api().times).parameters) == ["n"]
    assert list(inspect.signature(on_thread).parameters) == ["n"]
    assert repr(need(NUMBER)) == "need(number)"


async def test_a_service_that_is_passed_is_no_argument_of_a_key() -> None:
    """A test passes a fake: `key=` and `cost=` get what they get where the runtime gives the service."""
    asked: list[int] = []

    def noted(n: int) -> int:
        asked.append(n)
        return n

    @effect(ConcurrencyLimit(1, key=noted), RateLimit(99, per=1, key=noted, cost=noted))
    async def seen(n: int, number: int = need(NUMBER), *, other: int = need(NUMBER)) -> tuple[int, int, int]:
        return n, number, other

    async with Runtime().provide(NUMBER, seven):
        assert await seen(1) == (1, 7, 7)
        assert await seen(2, number=5) == (2, 5, 7)
        assert await seen(n=3, number=6, other=8) == (3, 6, 8)
        assert await seen(4, 5) == (4, 5, 7)
        assert await seen(5, 6, other=8) == (5, 6, 8)
    assert await seen(6, number=8, other=9) == (6, 8, 9)
    assert await seen(7, 8, other=9) == (7, 8, 9)
    assert asked == [n for n in range(1, 8) for _ in range(3)]


def _noted(asked: list[tuple[object, ...]], *args: object, **kwargs: object) -> int:
    asked.append((*args, *kwargs.items()))
    return 0


async def test_it_is_none_by_position_in_methods_blocking_functions_and_between_others() -> None:
    asked: list[tuple[object, ...]] = []
    limit = ConcurrencyLimit(1, key=functools.partial(_noted, asked))

    class Shop:
        @effect(limit)
        async def price(self, item: str, number: int = need(NUMBER)) -> tuple[str, int]:
            return item, number

    @blocking(limit)
    def on_a_thread(n: int, number: int = need(NUMBER)) -> int:
        return n * number

    @effect(limit)
    async def between(n: int, number: int = need(NUMBER), last: int = 3) -> tuple[int, int, int]:
        return n, number, last

    shop = Shop()
    assert await shop.price("tea", 5) == ("tea", 5)
    assert await on_a_thread(2, 4) == 8
    assert await between(1, 2) == (1, 2, 3)
    assert await between(1, 2, 4) == (1, 2, 4)
    assert asked == [(shop, "tea"), (2,), (1,), (1, ("last", 4))]


async def test_a_cache_without_a_key_tells_services_apart() -> None:
    """The value of one fake is not that of the next test's fake, by position and by name, with a hash and without."""

    @effect(Cache(ttl=60))
    async def cached(n: int, number: int = need(NUMBER)) -> int:
        return n * number

    assert [await cached(2, 3), await cached(2, 4), await cached(2, 3)] == [6, 8, 6]
    assert [await cached(2, number=5), await cached(2, number=6), await cached(n=2, number=4)] == [10, 12, 8]

    @effect(Cache(ttl=60))
    async def first(n: int, words: list[str] = need(WORDS)) -> str:
        return words[0]

    one, other = ["one"], ["one"]
    assert [await first(1, one), await first(1, words=one)] == ["one", "one"]
    other[0] = "other"
    assert [await first(1, other), await first(1, words=one)] == ["other", "one"]
    with pytest.raises(TypeError, match="its argument 'n' is a list, which has no hash"):
        await first([], one)  # type: ignore[arg-type]


def test_a_key_that_asks_for_a_service_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"arguments of the call, wants\(n\), and takes \(n, number\)"):

        @effect(ConcurrencyLimit(1, key=lambda n, number: n))
        async def wants(n: int, number: int = need(NUMBER)) -> int:
            return n * number


def test_a_need_that_nothing_can_fill_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="by position alone"):

        @effect
        async def wrong(number: int = need(NUMBER), /) -> int:
            return number


async def test_a_service_gets_the_value_of_its_need() -> None:
    log = Log()

    @asynccontextmanager
    async def doubled(number: int = need(NUMBER)) -> AsyncGenerator[Any]:
        log.append(f"from {number}")
        yield number * 2

    async with Runtime().provide(Key[int]("double"), doubled).provide(NUMBER, seven) as runtime:
        assert runtime.get(Key[int]("double")) == 14
    assert log == ["from 7"]
