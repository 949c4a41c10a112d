"""Code that newcomers from asyncio write first: each mistake is refused where it is written, with a way out."""

import asyncio
import functools
import gc
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Key,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    Shutdown,
    Timeout,
    amap,
    blocking,
    constant,
    effect,
    exponential,
    fs,
    gather,
    need,
    process,
    run,
    sidecar,
    testing,
)
from mountain_runtime.errors import ConfigError


class Client:
    """A service."""

    def get(self) -> int:
        return 1


class Lost(Exception): ...


class Late(Exception): ...


async def main(rt: Runtime) -> None: ...
async def nothing() -> None: ...
async def one(x: int) -> int:
    return x


def plain(x: object) -> int:
    return 1


@effect
async def work(x: int = 1) -> int:
    return x


@asynccontextmanager
async def open_client() -> AsyncGenerator[Client]:
    yield Client()


async def yields_client() -> AsyncGenerator[Client]:
    yield Client()


def generates_client() -> Generator[Client]:
    yield Client()


async def makes_client() -> Client:
    return Client()


async def numbers() -> AsyncGenerator[int]:
    yield 1


def with_url(fn: Any) -> Any:
    """A decorator that fills an argument, and says that it is the function that it fills."""

    @functools.wraps(fn)
    def filled(*args: Any) -> Any:
        return fn("url", *args)

    return filled


def as_asynchronous(fn: Any) -> Any:
    @functools.wraps(fn)
    def made() -> Any:
        return open_client()

    return made


@asynccontextmanager
async def opens_url(url: str) -> AsyncGenerator[Client]:
    yield Client()


@effect
async def takes_url(url: str, x: int) -> int:
    return x


async def two_of(a: int, b: int) -> int:
    return a


async def nothing_of(url: str) -> None: ...


#: Anything: what is wrong here, a type checker refuses.
effect_: Any = effect
blocking_: Any = blocking
run_: Any = run
retry: Any = Retry
fallback: Any = Fallback
breaker: Any = CircuitBreaker
provide: Any = lambda *given, **more: Runtime().provide(*given, **more)  # noqa: E731
two: Any = lambda a, b: work()  # noqa: E731

WRITTEN: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # -- effect, blocking
    (lambda: effect_([Timeout(1)]), ConfigError, "[Timeout(1)] is neither a policy nor a function: "),
    (lambda: effect_([Timeout(1)]), ConfigError, "given one by one, as in effect(*policies)"),
    (lambda: blocking_((Timeout(1),)), ConfigError, "as in blocking(*policies)"),
    (lambda: effect_(Timeout(1), [Timeout(2)]), ConfigError, "given one by one, as in effect(*policies)"),
    (lambda: effect_(Timeout), ConfigError, "Timeout is a class: write Timeout(...)"),
    (lambda: effect_(5), ConfigError, "5 is neither a policy nor a function: for a limit of time write Timeout(5)"),
    (lambda: effect_(Lost), ConfigError, "@effect on Lost, which is a class"),
    (lambda: effect_(Timeout(1), Lost), ConfigError, "to try again after it write Retry(on=Lost)"),
    (lambda: effect_("fetch"), ConfigError, "write effect(name='fetch')"),
    (lambda: effect_(nothing()), ConfigError, "got a coroutine of it, nothing(): write effect(nothing)"),
    (lambda: effect_(Timeout(1))(nothing()), ConfigError, "write effect(nothing)"),
    (lambda: effect_(Timeout(1), one), ConfigError, "a function comes after its policies, write effect(...)(one)"),
    (lambda: effect_(Timeout(1))(Timeout(2)), ConfigError, "write effect(Timeout(1), Timeout(2)), with all policies"),
    (lambda: effect_(work()), ConfigError, "got an effect of it, work(): write effect(work)"),
    (lambda: effect_(plain), ConfigError, "write @blocking, or make it `async def`"),
    (lambda: blocking_(one), ConfigError, "write @effect"),
    # -- the verbs
    (lambda: work().under([Timeout(1)]), ConfigError, "policies are given one by one, as in effect(*policies)"),  # type: ignore[arg-type, call-overload]
    (lambda: work().under(5), ConfigError, "Timeout(10): for a limit of time write Timeout(5)"),  # type: ignore[arg-type]
    (lambda: work().attempt((Lost, Late)), TypeError, "classes are given one by one, write attempt(*errors)"),  # type: ignore[arg-type]
    (lambda: work().attempt([Lost]), TypeError, "classes are given one by one, write attempt(*errors)"),  # type: ignore[arg-type]
    (lambda: work().attempt(Lost()), TypeError, "write its class, attempt(Lost)"),  # type: ignore[arg-type]
    (lambda: work().map(work), TypeError, "work is a coroutine function: under @effect it is for then(work)"),
    (lambda: work().map(one), TypeError, "one is a coroutine function: under @effect it is for then(one)"),
    (lambda: gather(Timeout, work()), TypeError, "not the class Timeout: an effect is what"),  # type: ignore[call-overload]
    (lambda: amap(two, [1], limit=1), ConfigError, "is called with one item: write lambda item: ..."),
    (lambda: amap(nothing, [1], limit=1), ConfigError, "write lambda item: nothing(...)"),  # type: ignore[call-overload, arg-type]
    (lambda: amap(work, work(), limit=1), TypeError, "not <Effect work()>: await it first"),  # type: ignore[arg-type]
    (lambda: amap(work, numbers, limit=1), TypeError, "not numbers: call it, numbers()"),  # type: ignore[call-overload, arg-type]
    (lambda: amap(work, 5, limit=1), TypeError, "amap() takes items, an iterable or asynchronous one, not 5"),  # type: ignore[call-overload, arg-type]
    (lambda: amap(work, [1], limit="5"), ConfigError, "1 or more: convert a text by int()"),  # type: ignore[arg-type]
    # -- policies
    (lambda: Timeout("5"), ConfigError, "convert a text by float()"),  # type: ignore[arg-type]
    (lambda: ConcurrencyLimit("5"), ConfigError, "convert a text by int()"),  # type: ignore[arg-type]
    (lambda: ConcurrencyLimit(5, key="url"), ConfigError, "such as lambda url: url"),  # type: ignore[arg-type]
    (lambda: retry(on=[Lost, Late]), ConfigError, "Retry(on=[Lost, Late]): must be"),
    (lambda: retry(on=[Lost, Late]), ConfigError, "write on=(Lost, Late)"),
    (lambda: retry(on={Lost}), ConfigError, "write on=Lost"),
    (lambda: retry(on=Lost()), ConfigError, "write its class, on=Lost"),
    (lambda: retry(on="OSError"), ConfigError, "write the class, not its name"),
    (lambda: retry(on=nothing()), ConfigError, "not a coroutine: write on=nothing"),
    (lambda: fallback(plain, on=[Lost]), ConfigError, "Fallback(on=[Lost]): must be a subclass of Exception"),
    (lambda: fallback(plain, on=[Lost]), ConfigError, "write on=Lost"),
    (lambda: breaker(on=[Lost, Late]), ConfigError, "write on=(Lost, Late)"),
    (lambda: fallback(None, on=Lost), ConfigError, "such as lambda error: None"),
    (lambda: fallback([], on=Lost), ConfigError, "such as lambda error: []"),
    (lambda: retry(on=Lost, backoff=2), ConfigError, "write constant(2)"),
    (retry, ConfigError, "needs on=, the errors that are tried again, or until=, which accepts a result"),
    (lambda: retry(until=True), ConfigError, "Retry(until=True): must be a function of the result, such as lambda"),
    (lambda: retry(until=Lost), ConfigError, "what is tried again on an error is on=Lost"),
    (lambda: retry(until=(Lost, Late)), ConfigError, "what is tried again on an error is on=(Lost, Late)"),
    (lambda: retry(until=one), ConfigError, "Retry(until=one): must be a plain function, which answers at once"),
    (lambda: retry(until=lambda: True), ConfigError, "is called with the result: write lambda result: ..."),
    (lambda: retry(until=plain(1)), ConfigError, "Retry(until=1): must be a function of the result"),
    (lambda: retry(on=Lost, backoff=one), ConfigError, "must be a plain function, which answers at once"),
    (lambda: retry(on=Lost, backoff=lambda: 1), ConfigError, "write lambda attempt: ..."),
    (lambda: retry(on=Lost, backoff=float), ConfigError, "constant() or exponential(), or a function of the attempt"),
    (lambda: retry(on=Lost, backoff=plain(1)), ConfigError, "write constant(1)"),
    (lambda: effect_(fallback(work, on=Lost))(two_of), ConfigError, "two_of(a, b), and does not take (a, b)"),
    (lambda: fallback(work(), on=Lost), ConfigError, "got an effect of it, work(): write Fallback(work, on=...)"),
    (lambda: fallback(two, on=Lost), ConfigError, "or put it under @effect or @blocking, to have it called with"),
    (lambda: work().map(str).under(fallback(work, on=Lost)), ConfigError, "lambda error: work(...)"),
    (lambda: retry(on=Lost, backoff=timedelta(seconds=2)), ConfigError, "constant(datetime.timedelta(seconds=2))"),
    (lambda: retry(on=Lost, backoff=exponential), ConfigError, "write exponential()"),
    (lambda: retry(on=Lost, budget=RetryBudget), ConfigError, "RetryBudget is a class, write RetryBudget(...)"),
    (lambda: Pipeline([Timeout(1)], name="p"), ConfigError, "policies are given one by one"),  # type: ignore[call-overload, arg-type]
    (lambda: Timeout(1).call(one(1)), TypeError, "got a coroutine of it, one(): write call(one, ...)"),  # type: ignore[arg-type]
    (lambda: Timeout(1).call(work()), TypeError, "got an effect of it, work(): write call(work, ...)"),  # type: ignore[arg-type]
    (lambda: Timeout(1).call(5), TypeError, "call() takes a function, not 5"),  # type: ignore[arg-type]
    # -- programs and services
    (lambda: run_(main(Runtime())), TypeError, "got a coroutine of it, main(): write run(main)"),
    (lambda: run_(work()), TypeError, "got an effect of it, work(): write run(work)"),
    (lambda: run_(None), TypeError, "run() takes a function, not None"),
    (lambda: run_(nothing), TypeError, "run() calls it with the Runtime: write `async def main(rt: Runtime)`"),
    (lambda: run_(plain), TypeError, "run(plain): gave int, which cannot be awaited. Make it `async def`"),
    (lambda: run_(main, runtime=Runtime), ConfigError, "Runtime is a class, write Runtime(...)"),
    (lambda: run_(main, runtime=Shutdown()), ConfigError, "must be a Runtime(...)"),
    (lambda: Runtime(shutdown=5), ConfigError, "write Shutdown(deadline=5)"),  # type: ignore[arg-type]
    (lambda: Runtime(shutdown=Shutdown), ConfigError, "Shutdown is a class, write Shutdown(...)"),  # type: ignore[arg-type]
    (lambda: provide(open_client, Client), ConfigError, "comes first: write provide(Client, open_client)"),
    (lambda: provide(open_client, Key("client")), ConfigError, "comes first"),
    (lambda: provide(open_client, open_client), ConfigError, "provide(open_client): must be a type, or a Key('name')"),
    (lambda: provide("client", open_client), ConfigError, "must be a type, or a Key('name')"),
    (lambda: provide(Client, Client), ConfigError, "the class Client has no __aenter__ and __aexit__: write an async"),
    (lambda: provide(Client, Client()), ConfigError, "must be a function that gives an async"),
    (lambda: provide(Client, open_client()), ConfigError, "is an async context manager already: give what makes it"),
    (lambda: provide(Client, makes_client), ConfigError, "under contextlib.asynccontextmanager, which yields"),
    (lambda: provide(Client, yields_client), ConfigError, "decorate it with contextlib.asynccontextmanager"),
    (lambda: provide(Client, generates_client), ConfigError, "is a plain generator, and a service an asynchronous one"),
    (lambda: provide(Client, contextmanager(generates_client)), ConfigError, "is a plain generator"),
    (lambda: provide(Client, opens_url), ConfigError, "opens_url is called with what it needs, and"),
    (lambda: provide(Client, plain), ConfigError, "plain is called with what it needs, and has parameters besides"),
    (lambda: provide(Client, open_client, fallback=makes_client), ConfigError, "fallback: makes_client must be"),
    (lambda: need(open_client), ConfigError, "need(open_client): must be a type, or a Key('name')"),
    (lambda: Key(Client), ConfigError, "write Key[Client]('client')"),  # type: ignore[arg-type]
    (lambda: Runtime().get("client"), ConfigError, "Runtime.get('client'): must be a type, or a Key('name')"),  # type: ignore[arg-type]
    # -- files, programs, tests
    (lambda: fs.read_bytes(["a", "b"]), TypeError, "not list: write fs.read_many(paths), or a call for each"),  # type: ignore[arg-type]
    (lambda: fs.read_text(None), TypeError, "a path is a str or os.PathLike, not NoneType"),  # type: ignore[arg-type]
    (lambda: fs.read_many(5), TypeError, "takes an iterable of paths, not int"),  # type: ignore[arg-type]
    (lambda: fs.read_many([5]), TypeError, "a path is a str or os.PathLike, not int"),  # type: ignore[list-item]
    (lambda: fs.walk(5), TypeError, "a path is a str or os.PathLike, not int"),  # type: ignore[arg-type]
    (lambda: process.run("env", env=["A=1"]), TypeError, "env= takes a mapping of str to str, not list"),  # type: ignore[arg-type]
    (lambda: process.open("env", env=["A=1"]), TypeError, "env= takes a mapping of str to str, not list"),  # type: ignore[arg-type]
    (lambda: sidecar("a", ready=nothing), ConfigError, "must be a plain function of a line, such as lambda line: ..."),  # type: ignore[arg-type]
    (lambda: sidecar("a", ready=two), ConfigError, "must be a plain function of a line, such as lambda line: ..."),
    (lambda: sidecar("a", restart=1), ConfigError, "write constant(1)"),  # type: ignore[arg-type]
    (lambda: testing.open_circuit(RateLimit(1, per=1)), TypeError, "takes a CircuitBreaker, not RateLimit(1, per=1)"),  # type: ignore[arg-type]
    (lambda: testing.open_circuit(CircuitBreaker), TypeError, "write CircuitBreaker(...)"),  # type: ignore[arg-type]
    (lambda: testing.exhaust(ConcurrencyLimit(1)), TypeError, "takes a RateLimit, not ConcurrencyLimit(1)"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "error", "way"), WRITTEN, ids=[f"{n} {way}" for n, (*_, way) in enumerate(WRITTEN)]
)
def test_it_is_refused_where_it_is_written(written: Callable[[], Any], error: type[Exception], way: str) -> None:
    """Whatever coroutine was made for it is closed: no second complaint, that it was never awaited, comes after."""
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        with pytest.raises(error) as caught:
            written()
        assert way in str(caught.value)
        assert " at 0x" not in str(caught.value)
        del caught
        gc.collect()
    assert [str(each.message) for each in complaints if str(each.message).startswith("coroutine ")] == []


RIGHT: list[Callable[[], Any]] = [
    lambda: Retry(on=(Lost, Late), backoff=constant(timedelta(seconds=1))),
    lambda: Cache(ttl=timedelta(minutes=1)),
    lambda: amap(one, "abc", limit=1),  # type: ignore[arg-type]
    lambda: amap(one, numbers(), limit=1),
    lambda: Runtime().provide(Client, lambda: open_client()),  # noqa: PLW0108
    lambda: Runtime().provide(Key[Client]("client"), open_client),
    lambda: work().map(Mock()).close(),
    lambda: Runtime().provide(Client, MagicMock()),
    lambda: Runtime().provide(Client, with_url(opens_url)),
    lambda: Runtime().provide(Client, as_asynchronous(generates_client)),
    lambda: amap(with_url(takes_url), [1], limit=1),
    lambda: Runtime().defer(with_url(nothing_of)),
    lambda: work().map(str).map(lambda text: text * 2).close(),
    lambda: fs.read_many({"a": 1}).close(),
]


@pytest.mark.parametrize("written", RIGHT)
def test_what_is_right_is_taken(written: Callable[[], Any]) -> None:
    written()


async def test_a_need_that_nothing_has_filled_says_where_it_is_filled() -> None:
    async def undecorated(client: Client = need(Client)) -> int:
        return client.get()

    with pytest.raises(AttributeError) as caught:
        await undecorated()
    assert str(caught.value).startswith("need(Client) has no attribute 'get': it is the default of a parameter")
    assert "@effect" in str(caught.value)
    assert not hasattr(undecorated.__defaults__ and undecorated.__defaults__[0], "get")  # which frameworks ask


async def test_main_is_called_once_though_it_is_looked_at() -> None:
    called: list[Runtime] = []

    async def counted(rt: Runtime) -> int:
        called.append(rt)
        return 5

    assert await asyncio.to_thread(run, counted) == 5
    assert await asyncio.to_thread(run, lambda rt: counted(rt)) == 5  # noqa: PLW0108
    assert len(called) == 2
