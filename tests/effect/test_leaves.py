"""Leaves of all kinds: any awaitable, StopIteration, deep recursion, no task around it."""

import asyncio
import sys
import traceback
import types
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Effect,
    Fallback,
    Pipeline,
    RateLimit,
    Retry,
    Timeout,
    constant,
    effect,
    fs,
)
from mountain_runtime._native import trial_noop as noop

from .support import LONG, SOON, Boom, collect, forever, ticks, value

MANY = Retry(on=Exception, attempts=5, backoff=constant(0))


class Awaitable:
    """Something that can be awaited and is no coroutine."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.result


class Iterating:
    """Its iterator has no `throw` and no `close`."""

    def __init__(self) -> None:
        self.left = 2

    def __await__(self) -> "Iterating":
        return self

    def __iter__(self) -> "Iterating":
        return self

    def __next__(self) -> None:
        self.left -= 1
        if not self.left:
            raise StopIteration("end")


@types.coroutine
def old_style() -> Generator[None, None, str]:
    yield
    return "old"


@pytest.mark.parametrize("policies", [(), (MANY, Timeout(LONG))], ids=["bare", "policies"])
async def test_awaitables_of_every_kind(policies: tuple[Any, ...]) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    future.set_result(1)

    under = Pipeline(*policies, name="p")
    assert await under.call(lambda: future) == 1
    assert await under.call(lambda: asyncio.ensure_future(value(2))) == 2
    assert await under.call(lambda: Awaitable(3)) == 3
    assert await under.call(Awaitable, 4) == 4
    assert await under.call(Iterating) == "end"
    assert await under.call(old_style) == "old"
    assert await under.call(lambda: noop(5)) == 5
    assert await under.call(effect(value), 6) == 6


async def test_what_cannot_be_awaited_is_said() -> None:
    with pytest.raises(TypeError, match="must return an awaitable, not NoneType"):
        await Timeout(LONG).call(lambda: None)  # type: ignore[arg-type, return-value]


async def test_stop_iteration_out_of_a_leaf() -> None:
    def raises() -> Any:
        raise StopIteration(5)

    with pytest.raises(RuntimeError) as caught:
        await Timeout(LONG).call(raises)
    assert isinstance(caught.value.__cause__, StopIteration)

    @effect(Timeout(LONG))
    async def in_a_coroutine() -> None:
        raise StopIteration(5)

    with pytest.raises(RuntimeError) as caught:
        await in_a_coroutine()
    assert isinstance(caught.value.__cause__, StopIteration)


class Unhashable:
    def __hash__(self) -> int:
        raise StopIteration(5)


class Unawaitable:
    def __await__(self) -> Generator[None, None, int]:
        raise StopIteration(5)


async def fails() -> None:
    raise Boom


async def awaited(work: Effect[Any]) -> Any:
    """Awaited, as a task's part; a task of the effect itself drives it by `send`."""
    return await work


def stops(*_: object) -> Any:
    raise StopIteration(5)


@pytest.mark.parametrize(
    "work",
    [
        lambda: effect(ConcurrencyLimit(1, key=stops))(value)(1),
        lambda: effect(RateLimit(1, per=1, key=stops))(value)(1),
        lambda: effect(RateLimit(1, per=1, cost=stops))(value)(1),
        lambda: effect(CircuitBreaker(failures=1, key=stops))(value)(1),
        lambda: effect(Cache(ttl=1, key=stops))(value)(1),
        lambda: effect(Cache(ttl=1))(value)(Unhashable()),
        lambda: fs.read_text(__file__).under(ConcurrencyLimit(1, key=stops)),
        lambda: Timeout(LONG).call(Unawaitable),
        effect(Fallback(lambda _: Unawaitable(), on=Boom))(fails),
    ],
    ids=["limit", "rate", "cost", "breaker", "cache", "hash", "native", "await", "fallback"],
)
async def test_stop_iteration_is_never_the_value(work: Any) -> None:
    """Whatever of the user's code it comes out of, and also where a task drives the effect itself."""
    for way in (asyncio.ensure_future, awaited):
        with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
            await way(work())
        assert isinstance(caught.value.__cause__, StopIteration)


async def test_stop_async_iteration_and_generator_exit_pass() -> None:
    for error in (StopAsyncIteration, GeneratorExit):

        @effect(Timeout(LONG))
        async def raises(error: type[BaseException] = error) -> None:
            await asyncio.sleep(0)
            raise error

        with pytest.raises((RuntimeError, error)):
            await raises()


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
async def test_exhaustion_is_never_retried(error: type[Exception]) -> None:
    runs = 0

    @effect(Retry(on=lambda _: True, attempts=5, backoff=constant(0)), MANY)
    async def leaf() -> None:
        nonlocal runs
        runs += 1
        raise error

    with pytest.raises(error):
        await leaf()
    assert runs == 1


@pytest.mark.parametrize("policies", [(), (MANY,), (Timeout(LONG),)], ids=["bare", "retry", "timeout"])
async def test_endless_recursion_is_an_error_and_no_crash(policies: tuple[Any, ...]) -> None:
    deepest = 0

    async def body(depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth)
        await deep(depth + 1)

    deep = effect(*policies, name="deep")(body)
    with pytest.raises(RecursionError):
        await deep(0)
    assert deepest < sys.getrecursionlimit()
    assert await effect(value)(1) == 1


async def test_a_chain_of_values_as_deep_as_python_allows() -> None:
    work: Effect[int] = effect(value)(0)
    for _ in range(50):
        work = work.map(lambda n: n + 1)
    assert await work == 50


async def test_outside_a_task_what_waits_says_so() -> None:
    """A policy needs a task to be woken and cancelled in; what returns at once needs none."""
    with pytest.raises(StopIteration) as end:
        effect(Timeout(LONG))(value)(3).send(None)
    assert end.value.value == 3
    outcome: list[Any] = []

    def drive() -> None:
        work = effect(Timeout(LONG))(forever)()
        try:
            outcome.append(work.send(None))
        except RuntimeError as error:
            outcome.append(error)

    asyncio.get_running_loop().call_soon(drive)
    await asyncio.sleep(0.005)  # an iteration of the loop or two
    assert isinstance(outcome[0], RuntimeError)
    assert "inside an asyncio task" in str(outcome[0])


def test_outside_a_loop() -> None:
    with pytest.raises(RuntimeError, match="running asyncio event loop"):
        noop().send(None)


async def test_async_generators_around_and_inside() -> None:
    log: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for i in range(3):
                yield await effect(Timeout(LONG))(asyncio.sleep)(0, i)
        finally:
            await effect(Timeout(LONG))(asyncio.sleep)(0)
            log.append("generator closed")

    @effect(Timeout(LONG), Retry(on=Boom))
    async def total() -> int:
        return sum([n async for n in numbers()])

    assert await total() == 3
    assert log == ["generator closed"]

    @effect(Timeout(SOON))
    async def stuck() -> None:
        async for _ in numbers():
            await forever()

    with pytest.raises(TimeoutError):
        await stuck()
    collect()
    await ticks(20)  # the loop closes what was left of the generator in a task of its own
    assert log == ["generator closed"] * 2


async def test_with_a_trace_function() -> None:
    """settrace, as debuggers and coverage use it, sees the leaf and changes nothing."""
    seen: set[str] = set()

    def trace(frame: types.FrameType, _event: str, _arg: Any) -> Any:
        seen.add(frame.f_code.co_name)
        return trace

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0)), Timeout(SOON))
    async def traced(n: int) -> int:
        await asyncio.sleep(0)
        return n

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert await traced(1) == 1
        with pytest.raises(TimeoutError):
            await effect(Timeout(SOON))(forever)()
        assert await noop(2) == 2
    finally:
        sys.settrace(before)
    assert {"traced", "forever"} <= seen


async def test_the_users_frames_are_on_top() -> None:
    async def deep() -> None:
        raise Boom

    @effect(Retry(on=Boom, attempts=4, backoff=constant(0)))
    async def leaf() -> None:
        await deep()

    with pytest.raises(Boom) as caught:
        await leaf()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_the_users_frames_are_on_top", "leaf", "deep"]


async def test_one_exception_raised_again_keeps_its_traceback_short() -> None:
    error = Boom()

    @effect(Retry(on=Boom, attempts=100, backoff=constant(0)))
    async def leaf() -> None:
        raise error

    for _ in range(3):
        with pytest.raises(Boom) as caught:
            await leaf()
    assert len(traceback.extract_tb(caught.value.__traceback__)) < 12
