"""Ladders: a fallback that is a function of effects is called with the arguments of the call."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    Fallback,
    Pipeline,
    Retry,
    Runtime,
    Timeout,
    blocking,
    constant,
    effect,
    fs,
    gather,
    need,
)
from mountain_runtime.errors import CircuitOpen, ConfigError

from .support import LONG, Boom, suspends


@effect
async def other(a: int, b: int = 10, *, c: int = 100) -> tuple[str, int, int, int]:
    await asyncio.sleep(0)
    return "other", a, b, c


@effect(Fallback(other, on=Boom))
async def first(a: int, b: int = 20, *, c: int = 200) -> tuple[str, int, int, int]:
    await asyncio.sleep(0)
    raise Boom


@blocking
def on_a_thread(a: int, b: int = 30, *, c: int = 300) -> tuple[str, int, int, int]:
    return "thread", a, b, c


async def fails(*_: Any, **__: Any) -> Any:
    raise Boom


def under(to: Any, **names: Any) -> Callable[..., Any]:
    """A function of one argument that always fails, under a fallback."""

    async def fails_with(a: int) -> Any:
        raise Boom

    return effect(Fallback(to, on=Boom), **names)(fails_with)


# -- its arguments -------------------------------------------------------------------------------------------


async def test_it_is_called_with_what_the_call_was_given() -> None:
    """Each function has its own defaults: what was not given is not passed."""
    assert await first(1) == ("other", 1, 10, 100)
    assert await first(1, 2) == ("other", 1, 2, 100)
    assert await first(a=1) == ("other", 1, 10, 100)
    assert await first(b=2, a=1) == ("other", 1, 2, 100)
    assert await first(1, c=3) == ("other", 1, 10, 3)
    assert await first(c=3, b=2, a=1) == ("other", 1, 2, 3)


async def test_names_do_not_count_where_positions_say_it() -> None:
    """As for `key=`, `f(1)` and `f(x=1)` are one call."""

    @effect
    async def small(text: int) -> int:
        return text

    assert await under(small)(1) == await under(small)(a=1) == 1


async def test_an_argument_behind_one_that_was_left_out_is_passed_by_name() -> None:
    @effect
    async def small(x: int = 1, b: int = 2) -> tuple[int, int]:
        return x, b

    @effect(Fallback(small, on=Boom))
    async def big(a: int = 7, b: int = 8) -> tuple[int, int]:
        raise Boom

    assert await big(b=5) == (1, 5)


async def test_one_on_a_thread() -> None:
    assert await effect(Fallback(on_a_thread, on=Boom))(first_like)(1, c=3) == ("thread", 1, 30, 3)
    assert await blocking(Fallback(other, on=Boom))(thread_like)(1, 2) == ("other", 1, 2, 100)
    assert await blocking(Fallback(on_a_thread, on=Boom))(thread_like)(a=1) == ("thread", 1, 30, 300)


async def first_like(a: int, b: int = 1, *, c: int = 1) -> Any:
    raise Boom


def thread_like(a: int, b: int = 1, *, c: int = 1) -> Any:
    raise Boom


class Api:
    """Methods of every kind."""

    def __init__(self, name: str) -> None:
        self.name = name

    @effect
    async def small(self, text: str) -> str:
        return f"{self.name}: {text}"

    @effect(Fallback(small, on=Boom))
    async def big(self, text: str) -> str:
        raise Boom

    @classmethod
    @effect
    async def small_of_class(cls, text: str) -> str:
        return f"{cls.__name__}: {text}"

    @classmethod
    @effect(Fallback(small_of_class, on=Boom))
    async def big_of_class(cls, text: str) -> str:
        raise Boom

    @staticmethod
    @effect
    async def small_of_none(text: str) -> str:
        return text

    @staticmethod
    @effect(Fallback(small_of_none, on=Boom))
    async def big_of_none(text: str) -> str:
        raise Boom


async def test_methods() -> None:
    api = Api("one")
    assert await api.big("a") == await api.big(text="a") == await Api.big(api, "a") == "one: a"
    assert await api.big_of_class("a") == await Api.big_of_class(text="a") == "Api: a"
    assert await api.big_of_none("a") == await Api.big_of_none("a") == "a"

    async def plain(text: str) -> str:
        raise Boom

    assert await effect(Fallback(Api("two").small, on=Boom))(plain)("a") == "two: a"


async def test_a_partial_takes_what_is_left() -> None:
    assert await under(functools.partial(other, b=2, c=3))(1) == ("other", 1, 2, 3)
    assert await under(functools.partial(other, 1))(2) == ("other", 1, 2, 100)


class Store:
    def __init__(self, name: str) -> None:
        self.name = name


@asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    yield Store("provided")


async def test_each_has_its_own_services() -> None:
    @effect
    async def small(text: str, store: Store = need(Store)) -> str:
        return f"{text} of {store.name}"

    @effect(Fallback(small, on=Boom))
    async def bare(text: str) -> str:
        raise Boom

    @blocking(Fallback(small, on=Boom))
    def threaded(text: str, *, store: Store = need(Store)) -> str:
        raise Boom

    async with Runtime().provide(Store, open_store):
        assert await bare("a") == await threaded("a") == "a of provided"
        assert await threaded("a", store=Store("fake")) == "a of provided"


async def test_a_service_that_was_passed_is_no_argument() -> None:
    @effect
    async def small(text: str, other: int = 5) -> str:
        return f"{text} {other}"

    @effect(Fallback(small, on=Boom))
    async def big(text: str, other: int = 1, store: Store = need(Store)) -> str:
        raise Boom

    assert await big("a", 2, Store("fake")) == await big("a", 2, store=Store("fake")) == "a 2"

    @effect(Fallback(small, on=Boom))
    async def between(text: str, store: Store = need(Store), other: int = 1) -> str:
        raise Boom

    assert await between("a", Store("fake"), 2) == "a 2"

    @effect
    async def renamed(text: str, number: int = 5) -> str:
        return text

    with pytest.raises(ConfigError, match=r"does not take \(text, other=\.\.\.\)"):

        @effect(Fallback(renamed, on=Boom))
        async def refused(text: str, store: Store = need(Store), other: int = 1) -> str:
            return text


# -- a ladder of ladders -------------------------------------------------------------------------------------


async def test_a_rung_under_policies_of_its_own() -> None:
    tried: list[str] = []

    def rung(name: str, *policies: Any, error: Exception | None = None) -> Any:
        async def call(prompt: str) -> str:
            tried.append(name)
            if error is not None:
                raise error
            return f"{name}: {prompt}"

        return effect(*policies, name=name)(call)

    breaker = CircuitBreaker(name="tiny", failures=1)
    last = rung("last")
    tiny = rung("tiny", Fallback(last, on=CircuitOpen), breaker, error=Boom())
    small = rung("small", Fallback(tiny, on=Boom), Retry(on=Boom, attempts=2, backoff=constant(0)), error=Boom())
    big = rung("big", Timeout(5), Fallback(last, on=KeyError), Fallback(small, on=Boom), error=Boom())
    with pytest.raises(Boom):
        await big("a")
    assert tried == ["big", "small", "small", "tiny"]
    tried.clear()
    assert await big("a") == "last: a"
    assert tried == ["big", "small", "small", "last"]


async def test_the_next_rung_is_for_what_one_raises() -> None:
    @effect
    async def raises(a: int) -> int:
        raise KeyError(a)

    @effect(Fallback(lambda error: ("plain", error.args), on=KeyError), Fallback(raises, on=Boom))
    async def big(a: int) -> Any:
        raise Boom

    assert await big(3) == ("plain", (3,))
    with pytest.raises(KeyError) as caught:
        await under(raises)(1)
    assert isinstance(caught.value.__context__, Boom)


async def test_an_effect_may_name_itself() -> None:
    calls: list[int] = []

    @effect
    async def flaky(a: int) -> int:
        calls.append(a)
        if len(calls) < 2:
            raise Boom
        return a

    assert await flaky(5).under(Fallback(flaky, on=Boom)) == 5
    assert calls == [5, 5]


async def test_one_that_comes_back_to_itself_without_end_is_an_error() -> None:
    @effect
    async def again(a: int) -> int:
        return await big(a)

    @effect(Fallback(again, on=Boom))
    async def big(a: int) -> int:
        raise Boom

    with pytest.raises(RecursionError):
        await big(1)


# -- around what was made ------------------------------------------------------------------------------------


async def test_under_call_and_pipelines() -> None:
    async def plain(a: int) -> Any:
        raise Boom

    fallback = Fallback(other, on=Boom)
    assert await fallback.call(plain, 1) == ("other", 1, 10, 100)
    assert await Pipeline(Timeout(LONG), fallback, name="p").call(plain, a=2) == ("other", 2, 10, 100)
    assert await effect(plain)(3).under(fallback) == ("other", 3, 10, 100)
    assert await effect(Cache(ttl=LONG), fallback)(plain)(4) == ("other", 4, 10, 100)


async def test_native_effects_give_what_they_were_given(tmp_path: Path) -> None:
    @effect
    async def instead(path: Path) -> str:
        return f"instead of {path.name}"

    missing = fs.read_text(tmp_path / "missing")
    assert await missing.under(Fallback(instead, on=OSError)) == "instead of missing"
    (tmp_path / "there").write_text("text")
    assert await fs.read_text(tmp_path / "there").under(Fallback(instead, on=OSError)) == "text"
    encoded = fs.read_text(tmp_path / "missing", encoding="latin-1")
    with pytest.raises(ConfigError, match="takes 1 positional argument but"):
        encoded.under(Fallback(instead, on=OSError))
    encoded.close()


def close(*effects: Any) -> None:
    for each in effects:
        each.close()


@pytest.mark.parametrize("made", [lambda: effect(suspends)().map(str), lambda: gather(fs.stat("."), fs.stat("."))])
def test_what_is_made_of_effects_has_no_arguments(made: Callable[[], Any]) -> None:
    composed = made()
    with pytest.raises(ConfigError, match=r"is made of other effects and has none.*lambda error: .*\(\.\.\.\)"):
        composed.under(Fallback(other, on=OSError))
    close(composed)


# -- what does not fit ----------------------------------------------------------------------------------------


def test_methods_and_functions_do_not_mix() -> None:
    async def method(self: Any, text: str) -> None: ...

    with pytest.raises(ConfigError, match=r"does not take \(self, text\)"):
        effect(Fallback(Api("a").small, on=Boom))(method)
    with pytest.raises(ConfigError, match=r"does not take \(text\)"):
        effect(Fallback(Api.small, on=Boom))(plain_text)


async def plain_text(text: str) -> None: ...
async def one(a: int) -> None: ...
async def two(a: int, b: int) -> None: ...


def test_a_plain_function_is_still_one_of_the_error() -> None:
    with pytest.raises(ConfigError, match=r"is called with the error: .*@effect or @blocking"):
        Fallback(two, on=Boom)


def test_a_generator_would_be_empty_by_then() -> None:
    def items() -> Iterator[int]:
        yield 1

    call = under(other)
    with pytest.raises(TypeError, match="may call another with its arguments and was given a generator"):
        call(items())
    with pytest.raises(TypeError, match="generator"):
        effect(one)(items()).under(Fallback(other, on=Boom))  # type: ignore[arg-type]
