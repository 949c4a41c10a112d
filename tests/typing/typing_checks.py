"""Programs that must type-check under mypy --strict, basedpyright and pyrefly, and such that must not.

A line marked `expect_error` carries an ignore, and mypy complains of one that has nothing to ignore; test_typing.py
takes the ignores away to see that each checker refuses these lines, and only these.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Generic, Literal, Never, NoReturn, ParamSpec, Protocol, Self, TypeVar, assert_type

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Effect,
    Err,
    Fallback,
    Handle,
    Hedge,
    Idle,
    Key,
    LimitStatistics,
    Ok,
    On,
    Pipeline,
    Policy,
    Priority,
    RateLimit,
    Retry,
    RetryBudget,
    Runtime,
    Shutdown,
    ShutdownReport,
    Stream,
    Timeout,
    Work,
    amap,
    batch,
    blocking,
    chunked,
    constant,
    deadline,
    effect,
    exponential,
    fs,
    gather,
    http,
    need,
    pools,
    priority,
    process,
    race,
    run,
    search,
    stream,
)
from mountain_runtime.errors import (
    CircuitOpen,
    NotAccepted,
    NoWorkers,
    RateLimited,
    Rejected,
    TimedOut,
    WorkerLost,
)
from mountain_runtime.testing import Chaos, ChaosStatistics, VirtualClock, chaos

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")


class Missing(Exception):
    """An error of the user's own."""


class Broken(Exception):
    """Another."""


class Store(Protocol):
    """A service."""

    def get(self, key: str) -> str:
        """One of its members."""
        ...


class Users:
    """Has a method that needs one."""

    @effect(Pipeline(Timeout(1), name="users"))
    async def age(self, user: str, *, store: Store = need(Store)) -> float:
        """Given by the runtime."""
        return len(store.get(user))


@effect
async def shout(word: str, *, times: int = 1) -> str:
    """Bare."""
    return word.upper() * times


@stream(Timeout(300), Retry(on=OSError), Idle(10))
async def rows(key: int, *, whole: bool = False) -> AsyncIterator[bytes]:
    """Many items."""
    yield b""


@stream
async def streamed(start: int) -> AsyncIterator[int]:
    """Items for `amap`."""
    yield start


class Log:
    """A stream as a method."""

    @stream
    async def lines(self, name: str) -> AsyncGenerator[str, None]:
        """Of an async generator."""
        yield name


@effect(Timeout(3), Retry(on=(OSError, Missing), attempts=None, backoff=constant(1)), Timeout(1), name="load")
async def load(key: int) -> bytes:
    """Under policies."""
    return bytes(key)


cache = Cache(ttl=60, max_size=10, stale=600)
breaker = CircuitBreaker(name="all", failures=5, cooldown=exponential(1, max=60), on=(OSError, Missing))
places = ConcurrencyLimit(5, key=str, max_waiting=None, overflow="shed", name="places")
hedge = Hedge(percentile=0.99, attempts=3, budget=RetryBudget(ratio=0.1), key=str, name="all")
rate = RateLimit(10, 1, burst=20, cost=attrgetter("bit_length"), max_wait=5)


@effect(
    Fallback(lambda error: b"", on=(Rejected, TimedOut)),
    Timeout(10),
    cache,
    Retry(on=OSError, budget=RetryBudget(ratio=0.2, min_per_second=2)),
    hedge,
    breaker,
    places,
    rate,
    Timeout(2),
)
async def full(n: int) -> bytes:
    """Under all there are."""
    return bytes(n)


@blocking
def words(text: str) -> list[str]:
    """On a thread, bare."""
    return text.split()


@blocking(Retry(on=lambda error: 0.5 if isinstance(error, OSError) else False, backoff=exponential(1, max=9)))
def count(text: str, sep: str | None = None) -> int:
    """On a thread, under policies."""
    return len(text.split(sep))


pool = pools.Processes(2, per_worker=4, runtime=Runtime, name="pool")


@blocking(Timeout(30), Retry(on=WorkerLost), On(pool), Timeout(20))
def on_pool(text: str) -> int:
    """On a worker."""
    return len(text)


@effect(Fallback(lambda _error: None, on=NoWorkers), On(pool))
async def awaited_on_pool(text: str) -> int:
    """Likewise, a coroutine."""
    return len(text)


async def uses_pools() -> None:
    """The types are those without `On`."""
    assert_type(await on_pool("a"), int)
    assert_type(await awaited_on_pool("a"), int | None)
    assert_type(pool.statistics(), pools.PoolStatistics)
    async with pool as same:
        assert_type(same, pools.Processes)


async def reversed_(text: str) -> str:
    """A function of another package."""
    return text[::-1]


def kind(item: str, *, tags: str = "") -> str:
    """Asked by name, too."""
    return item + tags


KEYS = (
    Cache(ttl=1, key=lambda url: url.host),
    ConcurrencyLimit(1, key=lambda self, url, n=1: (url.host, n)),
    CircuitBreaker(key=lambda a, b, c, d: a),
    RateLimit(1, 1, key=lambda item: item.kind, cost=lambda item: item.weight),
    RateLimit(1, 1, key=kind, cost=len),
)


class Shop:
    """Methods of every kind."""

    @effect(Pipeline(Timeout(1), name="shop"))
    async def price(self, item: str) -> float:
        """A method."""
        return float(len(item))

    @staticmethod
    @effect
    async def currency(code: str) -> int:
        """A static method."""
        return len(code)


async def letters(text: str) -> AsyncIterator[str]:
    """An async generator."""
    for letter in text:
        yield letter


@stream
async def lines(text: str) -> AsyncIterator[str]:
    """A stream."""
    yield text


async def as_text(error: Exception) -> str:
    """Stands in, awaited."""
    return str(error)


def as_bytes(error: Exception) -> Effect[bytes]:
    """Stands in by an effect."""
    return load(1)


def at_once_or_not(error: Exception) -> str | Awaitable[str]:
    """Stands in, awaited or not."""
    return str(error)


def two(text: str, times: int) -> int:
    """A function of no error."""
    return times


def translated(error: Exception) -> NoReturn:
    """Another error in place of one."""
    raise Missing from error


def anything(error: Exception) -> Any:
    """Says nothing of what it gives."""
    return None


async def number(text: str = "") -> int:
    """Of the functions under fallbacks."""
    return len(text)


async def numbers() -> list[int]:
    """Another."""
    return []


async def later() -> AsyncIterator[int]:
    """Items of `amap` that come one by one."""
    yield 1


class Text(Fallback[str]):
    """A policy of the user's own."""

    def __init__(self) -> None:
        super().__init__(as_text, on=OSError)


nothing = Fallback(lambda error: None, on=OSError)
some_text = Fallback(as_text, on=(OSError, Missing))
pipeline = Pipeline(Timeout(1), nothing, name="nothing")
PLAIN: list[Policy] = [Timeout(1), Retry(on=OSError), breaker]
MIXED = (Timeout(1), nothing)
OPTIONAL: list[Policy[None]] = [Timeout(1), nothing]
ANY_POLICY: list[Policy[object]] = [Timeout(1), nothing, some_text, pipeline, Text()]


@effect(nothing, Timeout(1))
async def maybe(n: int) -> int:
    """May give None."""
    return n


@blocking(nothing)
def maybe_blocking(n: int, *, times: int = 1) -> int:
    """Likewise, on a thread."""
    return n * times


class Shelf:
    """A fallback on a method."""

    @effect(Timeout(1), some_text)
    async def top(self) -> bytes:
        """May give text."""
        return b""

    @staticmethod
    @effect(nothing)
    async def size(n: int) -> int:
        """May give None."""
        return n


class Ladder:
    """A ladder of methods."""

    @effect
    async def other(self, text: str) -> str:
        """Stands in."""
        return text

    @effect(Fallback(other, on=OSError))
    async def best(self, text: str) -> int:
        """May give text."""
        return len(text)


def even(n: int) -> bool:
    """Which values are accepted."""
    return n % 2 == 0


def minutes(attempt: int) -> timedelta:
    """Waits longer each time."""
    return timedelta(minutes=attempt)


def under_one(fn: Callable[P, Awaitable[T]], other: U) -> Callable[P, Effect[T | U]]:
    """A decorator of the user's own."""
    return effect(Fallback(lambda error: other, on=OSError), Timeout(1))(fn)


def policy_of(other: U) -> Policy[U]:
    """A policy that a function makes."""
    return Fallback(lambda error: other, on=OSError)


#: The type of a stand-in is in the result's type; a policy that gives nothing of its own adds none.
STANDS_IN = (
    assert_type(maybe(1), Effect[int | None]),
    assert_type(maybe_blocking(1, times=2), Effect[int | None]),
    assert_type(Shelf().top(), Effect[bytes | str]),
    assert_type(Shelf.size(1), Effect[int | None]),
    assert_type(effect(Fallback(lambda error: None, on=OSError))(number)("a"), Effect[int | None]),
    assert_type(effect(Fallback(lambda error: 1, on=OSError))(number)(), Effect[int]),
    assert_type(effect(Fallback(lambda error: as_text(error), on=OSError))(number)(), Effect[int | str]),  # noqa: PLW0108
    assert_type(effect(Fallback(as_bytes, on=OSError))(number)(), Effect[int | bytes]),
    assert_type(effect(Fallback(shout, on=OSError))(number)("a"), Effect[int | str]),
    assert_type(effect(Fallback(count, on=OSError))(number)("a"), Effect[int]),
    assert_type(effect(Fallback(load, on=OSError))(number)(), Effect[int | bytes]),
    assert_type(stream(Fallback(lines, on=OSError))(letters)("a"), Stream[str]),
    assert_type(stream(Fallback(load, on=OSError))(letters)("a"), Stream[str | bytes]),
    assert_type(effect(Fallback(Shop().price, on=OSError))(number)(), Effect[int | float]),
    assert_type(effect(Fallback(partial(shout, times=2), on=OSError))(number)(), Effect[int | str]),
    assert_type(Ladder().best("a"), Effect[int | str]),
    assert_type(fs.read_bytes("a").under(Fallback(shout, on=OSError)), Effect[bytes | str]),
    assert_type(effect(Retry(until=lambda text: text.done))(number)(), Effect[int]),
    assert_type(effect(Retry(until=bool, backoff=lambda attempt: 0.5 * attempt))(number)(), Effect[int]),
    assert_type(effect(Retry(on=OSError, until=even, backoff=minutes))(number)(), Effect[int]),
    assert_type(effect(Fallback(at_once_or_not, on=OSError))(number)(), Effect[int | str]),
    assert_type(effect(Fallback[Never](translated, on=OSError))(number)(), Effect[int]),
    assert_type(effect(Fallback(anything, on=OSError))(number)(), Effect[int | Any]),
    assert_type(effect(Fallback[list[int]](lambda error: [], on=OSError))(numbers)(), Effect[list[int]]),
    assert_type(effect(Timeout(1), some_text, nothing, Retry(on=OSError))(number)(), Effect[int | str | None]),
    assert_type(effect(Fallback[str | bytes](as_bytes, on=OSError), some_text)(number)(), Effect[int | str | bytes]),
    assert_type(effect(Text())(number)(), Effect[int | str]),
    assert_type(effect(policy_of(b""))(number)(), Effect[int | bytes]),
    assert_type(under_one(number, "a")(text="a"), Effect[int | str]),
    assert_type(effect()(number)(), Effect[int]),
    assert_type(effect(name="n")(number)(), Effect[int]),
    assert_type(effect(*PLAIN)(number)(), Effect[int]),
    assert_type(effect(*MIXED)(number)(), Effect[int | None]),
    assert_type(effect(*OPTIONAL)(number)(), Effect[int | None]),
    assert_type(effect(Timeout(1), *OPTIONAL, Timeout(2))(number)(), Effect[int | None]),
    assert_type(effect(Timeout(1), *MIXED, some_text)(number)(), Effect[int | str | None]),
    assert_type(effect(pipeline)(number)(), Effect[int | None]),
    assert_type(effect(Pipeline(pipeline, some_text, name="two"))(number)(), Effect[int | str | None]),
    assert_type(Pipeline(name="none"), Pipeline[Never]),
    assert_type(pipeline.call(number, text="a"), Effect[int | None]),
    assert_type(some_text.call(number), Effect[int | str]),
    assert_type(load(1).under(nothing), Effect[bytes | None]),
    assert_type(load(1).under(Timeout(1), some_text, nothing), Effect[bytes | str | None]),
    assert_type(load(1).under(*MIXED), Effect[bytes | None]),
    assert_type(load(1).under(*PLAIN), Effect[bytes]),
    assert_type(load(1).under(pipeline), Effect[bytes | None]),
    assert_type(load(1).under(), Effect[bytes]),
    assert_type(gather(maybe(1), load(1)), Effect[tuple[int | None, bytes]]),
    assert_type(maybe(1).attempt(Missing), Effect[Ok[int | None] | Err[Missing]]),
)


@batch(50, Timeout(5), RateLimit(10, per=1), wait=0.01)
async def by_id(ids: list[int]) -> list[bytes]:
    """A result for each item."""
    return [bytes(each) for each in ids]


@batch(50)
async def by_name(names: list[str]) -> Sequence[bytes | Exception]:
    """A result or a failure for each item."""
    return [Missing(each) for each in names]


class Loaders:
    """Methods whose calls are collected by object and by class."""

    @batch(50)
    async def load(self, ids: list[int]) -> list[bytes]:
        """Of each object."""
        return [bytes(each) for each in ids]

    @batch(50)
    async def found(self, ids: list[int], store: Store = need(Store)) -> Sequence[bytes | Exception]:
        """With a service."""
        return [Missing(str(store)) for _ in ids]


#: Calls of one item each.
BATCHED = (
    assert_type(Loaders().load(1), Effect[bytes]),
    assert_type(Loaders().found(1), Effect[bytes]),
    assert_type(by_id(1), Effect[bytes]),
    assert_type(by_name("a"), Effect[bytes]),
    assert_type(by_id(1).under(Timeout(1), nothing), Effect[bytes | None]),
    assert_type(gather(by_id(1), by_name("a")), Effect[tuple[bytes, bytes]]),
    assert_type(gather([by_id(each) for each in range(3)]), Effect[list[bytes]]),
)


#: In a tuple, so that no effect counts as one that is never awaited.
VALUES = (
    assert_type(shout("a", times=2), Effect[str]),
    assert_type(load(1), Effect[bytes]),
    assert_type(full(1), Effect[bytes]),
    assert_type(words("a b"), Effect[list[str]]),
    assert_type(count("a b", sep=" "), Effect[int]),
    assert_type(Shop().price("tea"), Effect[float]),
    assert_type(Shop.currency("EUR"), Effect[int]),
    assert_type(partial(shout, "a")(), Effect[str]),
    assert_type(effect(Timeout(1))(partial(reversed_, "x"))(), Effect[str]),
    assert_type(Timeout(1).call(reversed_, text="x"), Effect[str]),
    assert_type(load(1).map(len), Effect[int]),
    assert_type(shout("a").then(lambda text: count(text, " ")), Effect[int]),
    assert_type(Pipeline(breaker, rate, name="two").call(reversed_, "x"), Effect[str]),
    assert_type(full(1).attempt(CircuitOpen, RateLimited), Effect[Ok[bytes] | Err[CircuitOpen | RateLimited]]),
    assert_type(rate.acquire("key", cost=2), Effect[None]),
    assert_type(load(1).attempt(Missing), Effect[Ok[bytes] | Err[Missing]]),
    assert_type(load(1).attempt(Missing, Broken), Effect[Ok[bytes] | Err[Missing | Broken]]),
    assert_type(load(1).attempt(Missing, Broken, TimedOut), Effect[Ok[bytes] | Err[Missing | Broken | TimedOut]]),
    assert_type(load(1).under(Timeout(1), Retry(on=OSError)), Effect[bytes]),
    assert_type(gather(shout("a"), load(1)), Effect[tuple[str, bytes]]),
    assert_type(gather(shout("a"), load(1), words("a")), Effect[tuple[str, bytes, list[str]]]),
    assert_type(gather(load(1), load(1), load(1), shout("a")), Effect[tuple[bytes, bytes, bytes, str]]),
    assert_type(
        gather(load(1), words("a"), load(1), shout("a"), load(1), count("a"), load(1), words("a")),
        Effect[tuple[bytes, list[str], bytes, str, bytes, int, bytes, list[str]]],
    ),
    assert_type(gather(load(n) for n in range(3)), Effect[list[bytes]]),
    assert_type(race(load(1), load(2)), Effect[bytes]),
    assert_type(fs.read_bytes("a"), Effect[bytes]),
    assert_type(fs.read_many(["a"]), Effect[list[bytes]]),
    assert_type(fs.read_text("a").then(lambda text: fs.write_text("b", text)), Effect[None]),
    assert_type(fs.stat("a").map(lambda entry: entry.size), Effect[int]),
    assert_type(fs.rooted("a").read_bytes("b").under(Fallback(shout, on=OSError)), Effect[bytes | str]),
    assert_type(http.Client().get("http://a"), Effect[http.Response]),
    assert_type(
        http.Client().post("http://a", json=[1]).under(Timeout(1), Retry(on=http.transient)), Effect[http.Response]
    ),
    assert_type(http.Client().download("http://a", "b"), Effect[int]),
)


async def used(rt: Runtime) -> int:
    """As users await it."""
    assert_type(await shout("a"), str)
    assert_type(await rt.run(load(1)), bytes)
    handle = assert_type(rt.submit(load(1), name="one"), Handle[bytes])
    assert_type(await handle, bytes)
    assert_type(rt.from_thread(count("a")), int)
    assert_type(rt.report, ShutdownReport | None)
    assert_type(rt.get(Key[Store]("primary")).get("k"), str)
    assert_type(rt.get(Store), Store)
    assert_type(await assert_type(Users().age("u"), Effect[float]), float)
    assert_type(rt.health().ready, bool)
    assert_type(rt.statistics().effects["load"].p99, float)
    assert_type(await asyncio.gather(shout("a"), load(1)), tuple[str, bytes])
    assert_type(await asyncio.wait_for(load(1), 1), bytes)
    async with asyncio.TaskGroup() as group:
        task = assert_type(group.create_task(load(1)), asyncio.Task[bytes])
    assert_type(task.result(), bytes)
    with priority(Priority.HIGH):
        assert_type(await full(1), bytes)
    async with places.slot(key=1):
        places.resize(3)
    assert_type(places.statistics(), LimitStatistics)
    assert_type(hedge.statistics()["won"], int)
    assert_type(hedge.delay("a"), float | None)
    assert_type(places.statistics().waiting[Priority.LOW], int)
    assert_type(breaker.state(), Literal["closed", "open", "half_open", "isolated"])
    assert_type(cache.statistics()["stale_hits"], int)
    for each in rt.dump().effects:
        assert_type(each["age"], float | None)
        assert_type(each["inside"], int | None)
    cache.invalidate(1)
    rate.charge(-3)
    rate.pause(2)
    async with deadline(1), amap(load, range(3), limit=2, ordered=True) as results:
        assert_type(results, AsyncIterator[tuple[int, bytes]])
        async for key, value in results:
            assert_type((key, value), tuple[int, bytes])
    assert_type(rows(1, whole=True), Stream[bytes])
    assert_type(Log().lines("a"), Stream[str])
    assert_type(rows(1).under(Timeout(1), some_text), Stream[bytes | str])
    async with rows(1) as items:
        assert_type(items, AsyncIterator[bytes])
        assert_type(await anext(items), bytes)
    async for line in Log().lines("a"):
        assert_type(line, str)
    async with amap(load, streamed(1), limit=2) as results:
        assert_type(results, AsyncIterator[tuple[int, bytes]])
    work = assert_type(Work([1], key=str, name="ids"), Work[int])
    async with amap(load, work, limit=2) as results:
        assert_type(results, AsyncIterator[tuple[int, bytes]])
        assert_type(work.add(2), bool)
        assert_type((len(work), work.done), tuple[int, int])
    async with amap(load, later(), limit=2) as results:
        assert_type(results, AsyncIterator[tuple[int, bytes]])
    assert_type(chunked(later(), 2).under(Timeout(1)), Stream[list[int]])
    assert_type(chunked(chunked(later(), 2), 2), Stream[list[list[int]]])
    assert_type(chunked(rows(1), 2, within=timedelta(seconds=1)), Stream[list[bytes]])
    async with chunked(rows(1).under(Idle(timedelta(seconds=1))), 2) as batches:
        assert_type(batches, AsyncIterator[list[bytes]])
    async with amap(load, work, limit=2) as results, chunked(results, 2, within=0.5) as lists:
        async for some in lists:
            assert_type(some, list[tuple[int, bytes]])
    async for entry in fs.walk("."):
        assert_type(entry.path, str)
    async for told in fs.watch(".", settle=0.1).under(Timeout(1)):
        assert_type(told, tuple[fs.Change, ...])
        assert_type((told[0].path, told[0].kind), tuple[str, Literal["made", "changed", "removed", "overflow"]])
    async with process.terminal("sh", columns=100, rows=30, cwd=".") as t:
        assert_type(t, process.Terminal)
        assert_type((t.screen(), await t.wait()), tuple[str, int])
        t.resize(80, 24)
        await t.write(b"x")
        async for piece in t.chunks():
            assert_type(piece, bytes)
    async for match in search.lines("x", ".", context=1):
        assert_type((match.line, match.before, match.cut), tuple[int, tuple[str, ...], tuple[int, int] | None])
    async with http.Client() as client, client.open("GET", "http://a", headers={"a": "b"}) as body:
        assert_type(body.headers["a"], str)
        async for piece in body:
            assert_type(piece, bytes)
        async for line in body.lines():
            assert_type(line, str)
        async for event in body.events():
            assert_type(event.data, str)
    match await load(1).attempt(Missing):
        case Ok(value):
            assert_type(value, bytes)
        case Err(error):
            assert_type(error, Missing)
    return 0


class Opened:
    """Makes a service as its own manager."""

    def __init__(self, path: str = "") -> None:
        """With a default, as a maker is called with nothing."""

    async def __aenter__(self) -> str:
        """The service."""
        return ""

    async def __aexit__(self, *_: object) -> None:
        """Its end."""


class Memory:
    """A Store by its shape."""

    def get(self, key: str) -> str:
        """Nothing is kept."""
        return key


class Base(ABC):
    """Cannot be made."""

    @abstractmethod
    def go(self) -> None:
        """Its work."""


class Derived(Base):
    """Can be made."""

    def go(self) -> None:
        """Nothing to do."""


class Own:
    """Is its own manager."""

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Its end."""


class Box(Generic[T]):
    """Of a type's argument, too."""

    content: T


@asynccontextmanager
async def open_memory(name: str = "") -> AsyncGenerator[Memory]:
    """Makes one."""
    yield Memory()


@asynccontextmanager
async def open_derived(n: int = 1) -> AsyncGenerator[Derived]:
    """Makes one."""
    yield Derived()


@asynccontextmanager
async def open_box() -> AsyncGenerator[Box[int]]:
    """Makes one."""
    yield Box()


@asynccontextmanager
async def open_anything() -> AsyncGenerator[Any]:
    """Says nothing of what it makes."""
    yield Memory()


DSN = Key[str]("dsn")
PROVIDED = (
    Runtime().provide(Key[str]("dsn"), Opened).provide(Key[str]("other"), partial(Opened, "path")),
    Runtime().provide(DSN, lambda: Opened("path"), fallback=Opened),
    Runtime().provide(str, Opened),
    Runtime().provide(object, Opened),
    Runtime().provide(Store, open_memory).provide(Store, lambda: open_memory("a"), fallback=open_memory),
    Runtime().provide(Memory, open_memory).provide(Base, partial(open_derived, 1)).provide(Derived, open_derived),
    Runtime().provide(Own, Own).provide(Box[int], open_box).provide(Memory, open_anything),
)


def provided(key: type[Memory], rt: Runtime) -> None:
    """A class that a variable holds."""
    rt.provide(key, open_memory)


def refusal() -> ConnectionError:
    """Makes an error for a chaos."""
    return ConnectionError("refused")


FAULTS: Chaos = chaos(fail=0.1, error=refusal, hang=0.01, slow=0.05, delay=(0.05, 1), seed=7)


@effect(Timeout(1), FAULTS, chaos(fail=1, error=ConnectionError), chaos(slow=1, delay=2))
async def with_faults(n: int) -> int:
    """A fault changes no type."""
    return n


async def not_yet() -> int:
    """A result that was not accepted, and the figures of a hedge."""
    assert_type(hedge.statistics()["won"], int)
    assert_type((hedge.delay("a"), Hedge(0.1, budget=None).delay()), tuple[float | None, float | None])
    assert_type(await load(1).under(Retry(until=bool), Hedge(timedelta(seconds=1))), bytes)
    try:
        return await effect(Retry(until=even))(number)()
    except NotAccepted as error:
        assert_type((error.value, error.attempt, error.effect, error.policy), tuple[Any, int, str, str | None])
        return 0


async def game_day() -> None:
    """They are on within a block."""
    with FAULTS.on():
        found: int = await with_faults(1)
    statistics: ChaosStatistics = FAULTS.statistics()
    print(found, statistics.failed + statistics.hung)


async def tested(virtual_clock: VirtualClock) -> None:
    """As tests have it."""
    await virtual_clock.advance(3600)
    assert_type(virtual_clock.time(), float)


assert_type(run(used, runtime=Runtime(workers=1, threads=2, shutdown=Shutdown(drain=1)), loop="uvloop"), int)


async def refused_batches() -> None:
    """Batches that no checker may let through."""
    await by_id("a")  # type: ignore[arg-type]  # expect_error: another item
    await by_id([1])  # type: ignore[arg-type]  # expect_error: the list itself
    await Loaders().load("a")  # type: ignore[arg-type]  # expect_error: another item of a method
    batch(50)(number)  # type: ignore[arg-type]  # expect_error: takes no list
    batch(size=50)  # type: ignore[call-arg]  # expect_error: by position alone
    batch(Timeout(1))  # type: ignore[arg-type]  # expect_error: the size comes first
    load.under(Timeout(1))  # type: ignore[attr-defined]  # expect_error: not called


async def refused_streams() -> None:
    """Streams that no checker may let through."""
    await rows(1)  # type: ignore[misc]  # expect_error: many items
    for _ in rows(1):  # type: ignore[attr-defined]  # expect_error: without async
        pass
    with rows(1):  # type: ignore[attr-defined]  # expect_error: without async
        pass
    async with rows(1) as items:
        for _ in items:  # type: ignore[attr-defined]  # expect_error: without async
            pass
    rows(1).map(len)  # type: ignore[attr-defined]  # expect_error: an effect has it
    await race(rows(1))  # type: ignore[arg-type]  # expect_error: no effect
    async for _ in Work([1]):  # type: ignore[attr-defined]  # expect_error: read by amap
        pass
    Idle("1")  # type: ignore[arg-type]  # expect_error: no number
    Hedge(percentile="95")  # type: ignore[arg-type]  # expect_error: no part of the calls
    async with FAULTS.on():  # type: ignore[attr-defined]  # expect_error: a plain block
        pass


async def refused(rt: Runtime) -> None:
    """Programs that no checker may let through."""
    await shout(1)  # type: ignore[arg-type]  # expect_error: a wrong argument
    await shout("a", 2)  # type: ignore[call-arg]  # expect_error: a keyword as a position
    await load(key="a")  # type: ignore[arg-type]  # expect_error: a wrong keyword argument
    Retry()  # type: ignore[call-overload]  # expect_error: without on= or until=
    Retry(on=KeyboardInterrupt)  # type: ignore[arg-type]  # expect_error: no Exception
    Timeout("1")  # type: ignore[arg-type]  # expect_error: no number
    Hedge(budget="5 %")  # type: ignore[arg-type]  # expect_error: no part of the calls
    Retry(on=OSError, budget=0.2)  # type: ignore[call-overload]  # expect_error: no RetryBudget
    Cache()  # type: ignore[call-arg]  # expect_error: without ttl=
    Cache(60)  # type: ignore[call-arg]  # expect_error: a keyword as a position
    CircuitBreaker(on=KeyboardInterrupt)  # type: ignore[arg-type]  # expect_error: no Exception
    ConcurrencyLimit(5, overflow="drop")  # type: ignore[arg-type]  # expect_error: no such overflow
    RateLimit(10)  # type: ignore[call-arg]  # expect_error: without a time
    Retry(until=True)  # type: ignore[call-overload]  # expect_error: no function
    Retry(on=OSError, backoff=lambda: 1)  # type: ignore[arg-type, misc]  # expect_error: takes no attempt
    Retry(on=OSError, backoff=lambda attempt: "1")  # type: ignore[arg-type, return-value]  # expect_error: no number
    Fallback(two, on=OSError)  # type: ignore[arg-type]  # expect_error: takes no error, and gives no effect
    rung: Effect[int] = effect(Fallback(shout, on=OSError))(number)("a")  # type: ignore[assignment]  # expect_error: a str
    await rung
    Fallback(lambda: 1, on=OSError)  # type: ignore[arg-type, misc]  # expect_error: takes no error
    Fallback(lambda error: 1)  # type: ignore[call-overload]  # expect_error: without on=
    Cache(ttl=1, key=lambda url: [url])  # type: ignore[arg-type]  # expect_error: no key
    ConcurrencyLimit(1, key="url")  # type: ignore[arg-type]  # expect_error: no function
    RateLimit(1, 1, cost=lambda item: "a")  # type: ignore[arg-type]  # expect_error: no number
    RateLimit(1, 1, cost=kind)  # type: ignore[arg-type]  # expect_error: no number either
    rt.provide(Key[int]("dsn"), Opened)  # type: ignore[arg-type]  # expect_error: makes a str
    rt.provide(Key[Store]("store"), Opened)  # type: ignore[arg-type]  # expect_error: no Store
    rt.provide(Store, Opened)  # type: ignore[arg-type]  # expect_error: not what the protocol says
    rt.provide(Store, partial(open_derived, 1))  # type: ignore[arg-type]  # expect_error: nor this
    rt.provide(Base, open_memory)  # type: ignore[arg-type]  # expect_error: none of the abstract class
    rt.provide(Derived, lambda: open_memory("a"))  # type: ignore[arg-type]  # expect_error: none of the class
    rt.provide(Memory, open_memory, fallback=Opened)  # type: ignore[arg-type]  # expect_error: the fallback's is none
    rt.provide(str, Own)  # type: ignore[arg-type]  # expect_error: a manager of itself
    rt.provide(Own, Opened)  # type: ignore[arg-type]  # expect_error: a manager of something else
    rt.provide(Box[str], open_box)  # type: ignore[arg-type]  # expect_error: of another argument
    rt.provide(int, lambda: 5)  # type: ignore[arg-type]  # expect_error: no manager
    rt.provide("store", open_memory)  # type: ignore[call-overload]  # expect_error: no key
    rt.provide(DSN, Opened, fallback=Users)  # type: ignore[arg-type]  # expect_error: no manager
    cache.statistics()["hit"]  # type: ignore[typeddict-item]  # expect_error: no such count
    rt.dump().effects[0]["nam"]  # type: ignore[typeddict-item]  # expect_error: no such fact
    Pipeline(Timeout(1))  # type: ignore[call-arg]  # expect_error: without a name
    priority("high")  # type: ignore[arg-type]  # expect_error: no Priority
    await rate.acquire("key", 2)  # type: ignore[call-arg]  # expect_error: a keyword as a position
    exponential(1, jitter="some")  # type: ignore[arg-type]  # expect_error: no such jitter
    effect(Timeout(1))(len)  # type: ignore[arg-type]  # expect_error: gives no awaitable
    chaos(fail=1, error=ConnectionError("x"))  # type: ignore[arg-type]  # expect_error: an exception, not its class
    chaos(fail=1, error=KeyboardInterrupt)  # type: ignore[arg-type]  # expect_error: no Exception
    chaos(0.1)  # type: ignore[call-arg]  # expect_error: a keyword as a position
    effect(Timeout)  # type: ignore[arg-type]  # expect_error: the class, not a policy
    wrong: Effect[int] = shout("a")  # type: ignore[assignment]  # expect_error: another value
    await wrong
    gone: Effect[int] = maybe(1)  # type: ignore[assignment]  # expect_error: None stands in
    gone = effect(Timeout(1), some_text)(number)()  # type: ignore[assignment]  # expect_error: a str stands in
    gone = effect(number)().under(nothing)  # type: ignore[arg-type]  # expect_error: None stands in
    gone = pipeline.call(number)  # type: ignore[assignment]  # expect_error: None stands in
    gone = effect(*OPTIONAL)(number)()  # type: ignore[assignment]  # expect_error: None may stand in
    await gone
    rows("a")  # type: ignore[arg-type]  # expect_error: a number
    await rows(1)  # type: ignore[misc]  # expect_error: a block, no await
    stream(load)  # type: ignore[arg-type]  # expect_error: gives one value
    plain: Policy = nothing  # type: ignore[assignment]  # expect_error: gives None
    plains: list[Policy] = [Timeout(1), some_text]  # type: ignore[list-item]  # expect_error: gives a str
    await load(1).under(plain, *plains)
    Fallback[list[int]](as_text, on=OSError)  # type: ignore[arg-type]  # expect_error: gives a str
    Timeout[int](1)  # type: ignore[misc]  # expect_error: gives nothing of its own
    (await maybe(1)).bit_length()  # type: ignore[union-attr]  # expect_error: it may be None
    await load(1).under(1)  # type: ignore[arg-type]  # expect_error: no policy
    await load(1).attempt(KeyboardInterrupt)  # type: ignore[type-var]  # expect_error: no Exception
    five: Effect[int] = gather(load(1), load(2), load(3), load(4), load(5))  # type: ignore[assignment]  # expect_error: a tuple
    await five
    await gather(load(1), load(2), load(3), asyncio.sleep(1))  # type: ignore[call-overload]  # expect_error: no effect
    await gather(asyncio.sleep(1), load(1))  # type: ignore[call-overload]  # expect_error: no effect
    amap(load, ["a"], limit=1)  # type: ignore[arg-type]  # expect_error: items of another type
    amap(load, Work(["a"]), limit=1)  # type: ignore[arg-type]  # expect_error: items of another type
    chunked([1], 2)  # type: ignore[arg-type]  # expect_error: not asynchronous
    Work([1]).add("a")  # type: ignore[arg-type]  # expect_error: an item of another type
    Work([1], key=len)  # type: ignore[arg-type]  # expect_error: no function of an int
    await rt.submit(asyncio.sleep(1))  # type: ignore[arg-type]  # expect_error: no effect
    await fs.hash("a", "md5")  # type: ignore[arg-type]  # expect_error: no such algorithm
    load(1)  # type: ignore[unused-awaitable]  # expect_error, not by basedpyright: it is never awaited
