"""An object in place of an effect, or of an `async with`, is a TypeError that says what to write."""

import asyncio
import inspect
import re
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mountain_runtime import Priority, Runtime, amap, blocking, deadline, effect, gather, priority, process, race
from mountain_runtime._native import trial_noop as noop


@effect
async def one(x: int = 1) -> int:
    return x


@blocking
def slow() -> None: ...


async def coroutine() -> None: ...
def plain() -> None: ...


class Api:
    @effect
    async def get(self) -> int:
        return 1


async def said(work: Any) -> str:
    """The TypeError of awaiting it."""
    with pytest.raises(TypeError) as caught:
        await work
    return str(caught.value)


def said_by(call: Callable[[], object]) -> str:
    with pytest.raises(TypeError) as caught:
        call()
    return str(caught.value)


async def test_a_function_of_effects_that_was_not_called() -> None:
    wrong: Any = one
    assert "one is a function of effects, which was not called: write" in await said(noop(1).then(lambda _: wrong))
    # CPython's own words, which are others from 3.14 on.
    assert re.search(r"EffectFunction\b.* can't be (used in 'await' expression|awaited)$", await said(wrong))
    assert not inspect.isawaitable(one), (
        "a library that awaits what can be awaited would await a value that is a function"
    )


def test_the_verbs_are_those_of_its_effects() -> None:
    for verb in ("map", "then", "attempt", "under"):
        with pytest.raises(AttributeError) as caught:
            getattr(one, verb)
        assert str(caught.value).endswith(f"which was not called: write one(...).{verb}(...)")
        assert not hasattr(one, verb)
    with pytest.raises(AttributeError, match="no attribute 'results'"):
        one.results  # type: ignore[attr-defined]  # noqa: B018
    assert inspect.iscoroutinefunction(one)


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: one, "and one is a function of effects, which was not called: write one(...)"),
    (lambda: Api().get, "and Api.get is a function of effects, which was not called: write Api.get(...)"),
    (lambda: slow, "and slow is a function of effects, which was not called: write slow(...)"),
    (lambda: coroutine(), "not the coroutine coroutine(): put @effect on its function"),  # noqa: PLW0108
    (lambda: coroutine, "not the function coroutine: put @effect on it, or @blocking if it is not async, and call it"),
    (lambda: plain, "not the function plain: put @effect on it, or @blocking if it is not async, and call it"),
    (lambda: len, "not the function len: put @effect on it"),
    (lambda: [one().close()], "not a list: write"),
    (lambda: 5, "not int: an effect is what a function under @effect or @blocking gives when it is called"),
    (lambda: "one", "not str: an effect is what"),
]


@pytest.mark.parametrize(("given", "way"), WRONG, ids=[way for _, way in WRONG])
async def test_what_takes_effects_says_what_it_got_and_what_to_write(given: Callable[[], Any], way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a coroutine that is refused is closed
        for verb in (gather, race):
            assert said_by(lambda verb=verb: verb(noop(), given(), given())).startswith(  # type: ignore[misc]
                f"{verb.__name__}() takes effects, {way}"
            )
        async with Runtime() as rt:
            assert said_by(lambda: rt.submit(given())).startswith(f"submit() takes effects, {way}")
            answer = await asyncio.wait_for(asyncio.to_thread(said_by, lambda: rt.from_thread(given())), 10)
            assert answer.startswith(f"from_thread() takes effects, {way}")


async def test_of_several_each_verb_says_its_own_way() -> None:
    effects: Any = [noop(1), noop(2)]
    assert said_by(lambda: race(effects)).endswith("not a list: write race(*effects)")
    assert said_by(lambda: race(each for each in effects)).endswith("not a generator: write race(*effects)")
    assert said_by(lambda: gather(noop(), effects)).endswith("not a list: write gather(*effects)")
    assert said_by(lambda: gather(5)).startswith("gather() takes effects, not int")  # type: ignore[call-overload]
    assert said_by(lambda: gather(one)).startswith("gather() takes effects, and one is")  # type: ignore[call-overload]
    async with Runtime() as rt:
        assert said_by(lambda: rt.submit(effects)).endswith("write submit(effect) for each")
        handle = rt.submit(noop(3))
        assert said_by(lambda: rt.submit(handle)).endswith("not a Handle, which runs already: await it as it is")  # type: ignore[arg-type]
        assert await handle == 3
    for each in effects:
        each.close()
    task = asyncio.create_task(coroutine())
    assert said_by(lambda: race(task)).endswith("not a Task, which runs already: await it as it is")  # type: ignore[arg-type]
    await task


BLOCKS: list[tuple[Callable[[], Any], str]] = [
    (lambda: deadline(1), "deadline(seconds) is an asynchronous block: write `async with deadline(seconds):`"),
    (lambda: amap(one, [1], limit=1), "write `async with amap(function, items, limit=n) as results:`"),
    (
        lambda: process.open("true"),
        "process.open(...) is an asynchronous block: write `async with process.open(...) as p:`",
    ),
    (lambda: Runtime(), "Runtime() is an asynchronous block: write `async with Runtime() as rt:`"),  # noqa: PLW0108
]


@pytest.mark.parametrize(("block", "way"), BLOCKS, ids=[way for _, way in BLOCKS])
async def test_an_asynchronous_block(block: Callable[[], Any], way: str) -> None:
    with pytest.raises(TypeError) as caught:
        with block():
            pass
    assert str(caught.value).endswith(way)
    if isinstance(block(), Awaitable):  # a framework may await what a factory gives: not so a Runtime
        assert (await said(block())).endswith(way)
    assert isinstance(block(), Awaitable) is not isinstance(block(), Runtime)


async def test_a_plain_block() -> None:
    block: Any = priority(Priority.HIGH)
    with pytest.raises(TypeError, match=r"priority\(\) is a plain block: write `with priority\(\.\.\.\):`"):
        async with block:
            pass


async def test_results_outside_their_block() -> None:
    results: Any = amap(one, [1], limit=1)
    with pytest.raises(RuntimeError, match=r"write `async with amap\(\.\.\.\) as results:`"):
        async for _ in results:
            pass
