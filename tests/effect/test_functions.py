"""The functions that can be decorated, the attributes that stay on them, and the look of their effects."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import pytest

from mountain_runtime import Pipeline, Retry, Timeout, blocking, effect, gather
from mountain_runtime._native import trial_noop as noop
from mountain_runtime.errors import ConfigError

from .support import LONG, Boom, value

T = TypeVar("T")


class Api:
    base = 10

    def __init__(self, own: int) -> None:
        self.own = own

    @effect(Timeout(LONG))
    async def get(self, n: int) -> int:
        """Gets it."""
        return self.own + n

    @classmethod
    @effect(Timeout(LONG))
    async def of_class(cls, n: int) -> int:
        return cls.base + n

    @staticmethod
    @effect
    async def of_none(n: int) -> int:
        return n

    @effect
    @staticmethod
    async def turned(n: int) -> int:
        return n + 1

    @blocking
    def slow(self, n: int) -> int:
        return self.own * n


class Doubles:
    async def __call__(self, n: int) -> int:
        return n * 2


class Box(Generic[T]):
    def __init__(self, inside: T) -> None:
        self.inside = inside

    @effect
    async def open(self) -> T:
        return self.inside


async def test_methods() -> None:
    api = Api(1)
    assert await api.get(2) == 3
    assert await Api.get(api, 2) == 3
    assert await api.of_class(2) == 12
    assert await Api.of_class(2) == 12
    assert await api.of_none(2) == 2
    assert await Api.of_none(2) == 2
    assert await api.turned(2) == 3
    assert await Api.turned(2) == 3
    assert await api.slow(5) == 5
    assert await Box("x").open() == "x"
    assert inspect.ismethod(api.get)
    assert api.get.__self__ is api
    bound = api.get
    assert await bound(n=4) == 5


async def test_partials_and_callable_objects() -> None:
    assert await effect(functools.partial(value, 3))() == 3
    assert await effect(Timeout(LONG))(functools.partial(value))(v=4) == 4
    assert await functools.partial(effect(value), 5)() == 5
    assert await effect(Doubles())(3) == 6
    assert await Timeout(LONG).call(Doubles(), 4) == 8
    assert await Retry(on=Boom).call(value, 9) == 9


async def test_a_sync_wrapper_around_an_async_function() -> None:
    def decorator(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(fn)
        def inner(*args: Any) -> Awaitable[Any]:
            return fn(*args)

        return inner

    @effect
    @decorator
    async def fetch(n: int) -> int:
        return n

    assert await fetch(1) == 1


def test_what_a_function_was_can_still_be_seen() -> None:
    async def fetch(url: str, *, tries: int = 3) -> bytes:
        """Fetches it."""
        raise NotImplementedError

    made = effect(Timeout(2))(fetch)
    assert made.__wrapped__ is fetch  # type: ignore[attr-defined]
    assert made.__name__ == "fetch"
    assert made.__qualname__ == fetch.__qualname__
    assert made.__doc__ == "Fetches it."
    assert made.__module__ == __name__
    assert inspect.signature(made) == inspect.signature(fetch)
    assert inspect.iscoroutinefunction(made)
    assert inspect.getsource(made) == inspect.getsource(fetch)
    assert Api.get.__doc__ == "Gets it."
    assert list(inspect.signature(Api(1).get).parameters) == ["n"]


async def test_how_an_effect_looks() -> None:
    @effect(Timeout(10), Retry(on=Boom))
    async def stars(repo: str, n: int = 0) -> None: ...

    work = stars("a/b", n=2)
    assert repr(work) == f"<Effect stars('a/b', n=2) under Timeout(10), {Retry(on=Boom)!r}>"
    await work
    native = noop().under(Timeout(1))
    assert repr(native) == "<Effect noop().under(Timeout(1))>"
    await native
    work = effect(name="other")(value)("x" * 1000)
    assert work.__name__ == "other"
    assert len(repr(work)) < 120
    await work
    group = gather([noop(1), noop(2)])
    assert "gather" in repr(group)
    await group


async def test_generators_cannot_be_decorated() -> None:
    """T8"""

    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    def sync() -> int:
        return 1

    for bad in (generator, async_generator, sync):
        with pytest.raises(ConfigError):
            effect(bad)
        with pytest.raises(ConfigError):
            effect(Timeout(1))(bad)
    for bad in (generator, async_generator, value):
        with pytest.raises(ConfigError):
            blocking(bad)


async def test_generator_arguments_are_refused_where_they_would_be_empty() -> None:
    """T8: only under a Retry, wherever it stands."""

    async def total(numbers: Any) -> int:
        return sum(numbers)

    retried = Retry(on=Boom)
    for bad in (effect(retried)(total), effect(Timeout(1), Pipeline(retried, name="p"))(total)):
        with pytest.raises(TypeError, match="generator"):
            bad(n for n in range(3))
        with pytest.raises(TypeError, match="generator"):
            bad(numbers=(n for n in range(3)))
        assert await bad([1, 2]) == 3
    assert await effect(Timeout(1))(total)(n for n in range(3)) == 3
    with pytest.raises(TypeError, match="generator"):
        await retried.call(total, (n for n in range(3)))
    with pytest.raises(TypeError, match="generator"):
        effect(total)(n for n in range(3)).under(retried)
