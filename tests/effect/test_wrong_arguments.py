"""Wrong arguments are a TypeError where the call is written, as a coroutine function's are, and in its words."""

import asyncio
import functools
import itertools
import json
import os
import time
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

from mountain_runtime import Cache, Pipeline, Retry, Runtime, Timeout, blocking, effect, need
from mountain_runtime._native import trial_noop as noop

from .support import Boom, value


async def nothing() -> None: ...
async def one(x: Any) -> None: ...
async def default(x: Any, y: Any = 2) -> None: ...
async def only(x: Any, /, y: Any) -> None: ...
async def only_default(x: Any = 1, /, y: Any = 2) -> None: ...
async def named(x: Any, *, key: Any) -> None: ...
async def named_default(*, key: Any = 1, other: Any) -> None: ...
async def stars(x: Any, *rest: Any) -> None: ...
async def keywords(x: Any, **others: Any) -> None: ...
async def shadow(x: Any, /, **others: Any) -> None: ...
async def all_kinds(x: Any, /, y: Any, *rest: Any, key: Any, other: Any = 1, **others: Any) -> None: ...


FUNCTIONS = (nothing, one, default, only, only_default, named, named_default, stars, keywords, shadow, all_kinds)
#: By position up to three, by name any of five.
CALLS = [
    (args, dict.fromkeys(names))
    for args in [(), (1,), (1, 2), (1, 2, 3)]
    for count in range(4)
    for names in itertools.combinations(("x", "y", "key", "other", "another"), count)
]


def said(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The TypeError of a call; None if it is taken."""
    try:
        call(*args, **kwargs).close()
    except TypeError as error:
        return str(error)
    return None


async def plain(x: Any, y: Any, *, key: Any = None) -> None: ...


class Shop:
    async def price(self, x: Any, y: Any = 1) -> None: ...
    async def __call__(self, x: Any) -> None: ...


CALLABLES: dict[str, Callable[..., Any]] = {
    "a bound method": Shop().price,
    "an object": Shop(),
    "an object's bound call": Shop().__call__,
    "a partial": functools.partial(plain, 1),
    "a partial by name": functools.partial(plain, y=1),
    "a partial of a partial": functools.partial(functools.partial(plain, y=1), key=2),
    "a full partial": functools.partial(plain, 1, 2),
    "a partial of too many": functools.partial(plain, 1, 2, 3),
    "a partial of a method": functools.partial(Shop().price, y=1),
    "a partial that gives twice": functools.partial(plain, 1, x=2),
}


@pytest.mark.parametrize(
    "function", [*FUNCTIONS, *CALLABLES.values()], ids=[f.__name__ for f in FUNCTIONS] + [*CALLABLES]
)
def test_exactly_what_the_function_refuses_is_refused_in_its_words(function: Callable[..., Any]) -> None:
    made = effect(function)
    outcomes = set()
    for args, kwargs in CALLS:
        wanted = said(function, args, kwargs)
        assert said(made, args, kwargs) == wanted, (args, kwargs)
        assert said(Timeout(1).call, (function, *args), kwargs) == wanted, (args, kwargs)
        assert said(effect(Timeout(1))(made), args, kwargs) == wanted, (args, kwargs)
        assert said(effect(functools.partial(made)), args, kwargs) == wanted, (args, kwargs)
        outcomes.add(wanted is None)
    assert False in outcomes


async def test_names_that_are_not_the_same_object_are_the_same_name() -> None:
    async def f(first_name: int, **others: int) -> int:
        return first_name

    name = "".join(part for part in ("first", "_name"))
    assert await effect(f)(**{name: 3}) == 3
    with pytest.raises(TypeError, match="multiple values for argument 'first_name'"):
        effect(f)(1, **{name: 3})


class Api:
    @effect
    async def get(self, n: int) -> int:
        return n

    @classmethod
    @effect
    async def of_class(cls, n: int) -> int:
        return n

    @staticmethod
    @effect
    async def of_none(n: int) -> int:
        return n

    @blocking
    def slow(self, n: int) -> int:
        return n


async def test_methods() -> None:
    api = Api()
    for call in (api.get, api.of_class, Api.of_class, api.of_none, Api.of_none, api.slow):
        assert await call(1) == 1
        for wrong in ((), (1, 2)):
            with pytest.raises(TypeError, match=r"(missing|takes)"):
                call(*wrong)
    with pytest.raises(TypeError, match=r"^Api\.get\(\) takes 2 positional arguments but 3 were given$"):
        api.get(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Api\.get\(\) missing 1 required positional argument: 'n'$"):
        Api.get(1)  # type: ignore[call-arg, arg-type]


async def test_the_line_that_is_wrong_is_the_last_of_the_traceback() -> None:
    with pytest.raises(TypeError) as raised:
        asyncio.create_task(effect(one)(1, 2))  # type: ignore[call-arg, arg-type]
    assert [frame.name for frame in traceback.extract_tb(raised.tb)] == [
        "test_the_line_that_is_wrong_is_the_last_of_the_traceback"
    ]
    assert raised.value.__context__ is None


async def test_needs_are_given_or_passed() -> None:
    class Store: ...

    @effect
    async def f(a: int, store: Store = need(Store), *, other: Store = need(Store)) -> tuple[Any, Any]:
        return store, other

    @blocking
    def g(a: int, store: Store = need(Store)) -> Any:
        return store

    fake = Store()
    assert await f(1, fake, other=fake) == (fake, fake)
    async with Runtime().provide(Store, lambda: Managed(fake)):
        assert await f(1) == (fake, fake)
        assert await g(1) is fake
    assert await g(1, store=fake) is fake
    for call in (f, g):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
            call()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'stor"):
            call(1, stor=fake)  # type: ignore[call-arg]


class Managed:
    def __init__(self, it: Any) -> None:
        self.it = it

    async def __aenter__(self) -> Any:
        return self.it

    async def __aexit__(self, *_: object) -> None: ...


async def test_blocking_functions_classes_and_builtins() -> None:
    class Pair:
        def __init__(self, a: int, b: int = 2) -> None:
            self.sum = a + b

    assert (await blocking(Pair)(1)).sum == 3
    with pytest.raises(TypeError, match=r"Pair\.__init__\(\) missing 1 required positional argument: 'a'"):
        blocking(Pair)()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^loads\(\) missing 1 required positional argument: 's'$"):
        blocking(json.loads)()  # type: ignore[call-arg]
    assert await blocking(os.getpid)() == os.getpid()
    with pytest.raises(TypeError, match=r"^getpid\(\) too many positional arguments$"):
        blocking(os.getpid)(1)  # type: ignore[call-arg]


async def test_what_shows_no_signature_is_asked_when_it_runs() -> None:
    """So is what lies of it: a wrapper's copied signature is not its own."""
    for function in (dict, max, type, vars, noop):
        work = blocking(function)(1, 2, 3, 4, 5, no_such=1)  # type: ignore[operator]
        work.close()
    work = blocking(max)()  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="max expected"):
        await work

    @functools.wraps(one)
    async def injecting(*args: Any) -> Any:
        return args

    assert await effect(injecting)(1, 2, 3) == (1, 2, 3)
    mock = AsyncMock(return_value=5)
    assert await effect(mock)(1, 2, three=3) == 5
    assert await Timeout(1).call(mock, 1, four=4) == 5


async def test_a_default_that_came_later_counts() -> None:
    async def f(a: int, b: int) -> int:
        return a + b

    made = effect(f)
    f.__defaults__ = (5,)
    assert await made(1) == 6


async def test_a_type_error_of_the_body_stays_what_it_is() -> None:
    runs = 0

    @effect(Retry(on=TypeError, attempts=2))
    async def inside(x: int) -> None:
        nonlocal runs
        runs += 1
        one()  # type: ignore[call-arg]

    with pytest.raises(TypeError, match=r"^one\(\) missing 1 required positional argument: 'x'"):
        await inside(1)
    assert runs == 2
    with pytest.raises(TypeError):
        inside()  # type: ignore[call-arg]
    assert runs == 2


async def test_policies_and_pipelines() -> None:
    for policy in (Timeout(1), Cache(ttl=1), Pipeline(Timeout(1), name="p")):
        with pytest.raises(TypeError, match=r"^one\(\) takes 1 positional argument but 2 were given$"):
            policy.call(one, 1, 2)  # type: ignore[call-arg]


async def test_what_is_composed_takes_one_argument() -> None:
    def none() -> int:
        return 0

    def two(a: int, b: int) -> int:
        return a + b

    async def effects_two(a: int, b: int) -> int:
        return a + b

    work = noop(1)
    for wrong in (none, two, lambda: 1, functools.partial(two, 1, 2), Api().get.__func__, Api.get):
        for verb in (work.map, work.then):
            with pytest.raises(TypeError, match=r"(takes|missing)"):
                verb(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"effects_two\(\) missing 1 required positional argument: 'b'"):
        work.then(effect(effects_two))  # type: ignore[arg-type]
    for verb in (work.map, work.then):
        with pytest.raises(TypeError, match="needs a function of the value, not int"):
            verb(1)  # type: ignore[arg-type]
    for right in (
        lambda v: v,
        lambda v=0: v,
        lambda *v: v,
        functools.partial(two, 1),
        functools.partial(two, b=1),
        str,
    ):
        await work.map(right)
    assert await work.then(Api().get) == 1
    assert await work.map(len).map(lambda v, more=1: v).attempt(TypeError)


async def test_attempt_names_classes_of_errors() -> None:
    work = noop(1)
    with pytest.raises(TypeError, match="needs the classes"):
        work.attempt()  # type: ignore[call-overload]
    for wrong in (1, "OSError", int, BaseException, asyncio.CancelledError, Boom()):
        with pytest.raises(TypeError, match=r"attempt\(.*\): must be a class of Exception"):
            work.attempt(OSError, wrong)  # type: ignore[call-overload]
    await work.attempt(OSError, Boom)


def test_a_right_call_costs_next_to_nothing() -> None:
    """Coarse: a call whose arguments Python had to look at would take ten times as long."""
    made = effect(value)
    best = min(_seconds(lambda: made(1)) for _ in range(5))
    asked = min(_seconds(lambda: Timeout(1).call(value, 1)) for _ in range(5))
    assert best < asked


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(200):
        call().close()
    return time.perf_counter() - began
