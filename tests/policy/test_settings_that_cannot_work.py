"""A setting that could never have its effect is a ConfigError where it is written, which names the way out."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    amap,
    blocking,
    effect,
    exponential,
    need,
    process,
    sidecar,
)
from mountain_runtime.errors import ConfigError


async def get(url: str, page: int = 1, *, fresh: bool = False) -> str:
    return f"{url} {page} {fresh}"


def one() -> int:
    return 1


two: Any = lambda a, b: True  # noqa: E731
none: Any = lambda: 1  # noqa: E731

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: CircuitBreaker(failures=5, failure_rate=0.5), "leave one of them out"),
    (lambda: CircuitBreaker(failures=5, minimum_calls=10), "leave one of them out"),
    (lambda: CircuitBreaker(slow_rate=0.5), "needs slow_call="),
    (lambda: Fallback(none, on=OSError), "write lambda error: ..."),
    (lambda: Fallback(two, on=OSError), "write lambda error: ..."),
    (lambda: Retry(on=none), "write lambda error: ..."),
    (lambda: Retry(on=two), "write lambda error: ..."),
    (lambda: exponential(5, max=1), "larger max=, or write constant(1)"),
    (lambda: exponential(10), "larger max=, or write constant(5)"),
    (lambda: effect(ConcurrencyLimit(1, key=lambda: 1))(get), "get(url, page=1, *, fresh=False), and takes ()"),
    (lambda: effect(CircuitBreaker(key=lambda: 1))(get), "Give it the same parameters"),
    (lambda: effect(Cache(ttl=1, key=lambda: 1))(get), "key= is called with the arguments of the call"),
    (lambda: effect(RateLimit(1, per=1, key=lambda: 1))(get), "key= is called with the arguments of the call"),
    (lambda: effect(RateLimit(1, per=1, cost=lambda: 1))(get), "cost= is called with the arguments of the call"),
    (lambda: blocking(ConcurrencyLimit(1, key=lambda a: a))(one), "one(), and takes (a)"),
    (lambda: RateLimit(1, per=1, key=lambda: 1).call(get, "x"), "Give it the same parameters"),
    (lambda: effect(Timeout(1), name=""), "effect(name=''): must be a name"),
    (lambda: blocking(Timeout(1), name=5), "blocking(name=5): must be a name"),  # type: ignore[call-overload]
    (lambda: Runtime(dashboard="localhost"), "'127.0.0.1:9600'"),
    (lambda: Runtime(dashboard="127.0.0.1:70000"), "'127.0.0.1:9600'"),
    (lambda: Runtime(dashboard=":"), "'127.0.0.1:9600'"),
    (lambda: process.run(["ls", "-l"]), "write process.run(*argv)"),  # type: ignore[arg-type]
    (lambda: process.run("head", "-n", 5), "convert it by str()"),  # type: ignore[arg-type]
    (lambda: process.open(["ls"]), "write process.open(*argv)"),  # type: ignore[arg-type]
    (lambda: sidecar(["ls"]), "write sidecar(*argv)"),  # type: ignore[arg-type]
    (lambda: amap(5, [1], limit=1), "must be a function"),  # type: ignore[call-overload, arg-type]
]


@pytest.mark.parametrize(("written", "said"), REFUSED)
def test_it_is_refused_where_it_is_written(written: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        written()
    assert said in str(caught.value)


def test_a_token_is_in_no_message() -> None:
    with pytest.raises(ConfigError) as caught:
        Runtime(dashboard="secret@localhost")
    assert "secret" not in str(caught.value)


BLOCKS: list[tuple[Any, str]] = [
    (RateLimit(1, per=1), "write `await limit.acquire()`"),
    (ConcurrencyLimit(1), "write `async with limit.slot():`"),
    (Timeout(1), "write `async with deadline(seconds):`"),
    (CircuitBreaker(), "give it to @effect(...)"),
    (Retry(on=OSError), "give it to @effect(...)"),
]


@pytest.mark.parametrize(("policy", "said"), BLOCKS)
async def test_a_policy_is_no_block(policy: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with policy:
            pass
    assert said in str(caught.value)
    with pytest.raises(ConfigError):
        with policy:
            pass


class Api:
    async def get(self, url: str) -> str:
        return url

    @staticmethod
    async def head(url: str) -> str:
        return url


class Keys:
    def __call__(self, *args: object, **kwargs: object) -> int:
        return len(args) + len(kwargs)


async def with_need(url: str, *, client: int = need(int)) -> str:
    return f"{url} {client}"


async def anything(*args: object) -> int:
    return len(args)


KEYED: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (get, lambda url, page=1, *, fresh=False: url),
    (get, lambda url: url),  # fits the calls that name nothing else
    (get, lambda *args, **kwargs: args),
    (get, functools.partial(lambda tenant, url, page=1, fresh=False: url, "a")),
    (get, Keys()),
    (get, hash),  # a builtin that takes one argument
    (get, dict.get),  # and one that does not say what it takes
    (Api.get, lambda self, url: url),
    (Api.head, lambda url: url),
    (Api().get, lambda url: url),
    (with_need, lambda url: url),
    (anything, lambda a: a),
    (functools.partial(get, "x"), lambda page=1: page),
]


@pytest.mark.parametrize(("function", "key"), KEYED)
def test_a_key_that_some_call_fits_is_taken(function: Callable[..., Any], key: Callable[..., Any]) -> None:
    effect(ConcurrencyLimit(1, key=key))(function)


@pytest.mark.parametrize("to", [str, print, lambda error, more=1: more, lambda *errors: errors, Keys()])
def test_what_takes_one_error_is_taken(to: Callable[..., Any]) -> None:
    Fallback(to, on=OSError)
    Retry(on=to) if not isinstance(to, type) else None


def test_settings_that_go_together_are_taken() -> None:
    CircuitBreaker(failures=5, window=60)
    CircuitBreaker(failures=5, slow_call=1, slow_rate=0.5, minimum_calls=3)
    CircuitBreaker(failure_rate=0.5, minimum_calls=3)
    exponential(5)
    exponential(1, max=1)
