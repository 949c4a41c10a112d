"""Pipeline: policies as one; and `policy.call`, for functions that one did not write."""

import asyncio
from typing import Any

import pytest

from mountain_runtime import Effect, Pipeline, Retry, Timeout, _native, constant, effect
from mountain_runtime.errors import TimedOut

from .support import SOON, Boom, Calls, forever, suspends

RETRY = Retry(on=Boom, attempts=3, backoff=constant(0))


async def test_it_is_its_policies_in_their_order() -> None:
    attempts = Pipeline(RETRY, Timeout(SOON), name="attempts")
    total = Pipeline(Timeout(SOON), RETRY, name="total")
    for policies, count in ((attempts, 3), (total, 1)):
        calls: list[int] = []

        @effect(policies)
        async def hangs(calls: list[int]) -> None:
            calls.append(1)
            await forever()

        with pytest.raises(TimedOut) as ended:
            await hangs(calls)
        assert len(calls) == count
        assert ended.value.policy == f"Timeout({SOON})"


async def test_it_can_hold_others_and_stand_among_others() -> None:
    calls = Calls(Boom, Boom, then_value=True)
    inner = Pipeline(RETRY, name="inner")
    outer = Pipeline(Timeout(5), inner, name="outer")
    assert await effect(outer, Timeout(2))(calls)() == 3
    assert await effect(suspends)(8).under(outer) == 8
    assert "outer" in repr(outer)
    assert "inner" in repr(outer)
    assert "Timeout(5)" in repr(outer)


async def test_an_empty_one_changes_nothing() -> None:
    empty = Pipeline(name="nothing")
    assert await effect(empty)(suspends)(4) == 4
    native = _native.trial_noop(1).under(empty)
    assert _native.is_native(native)
    assert await native == 1


async def test_it_keeps_native_work_native() -> None:
    files = Pipeline(Timeout(5), Retry(on=OSError, backoff=constant(0)), name="files")
    work = _native.trial_noop(9).under(files)
    assert _native.is_native(work)
    assert await work == 9


async def test_call_makes_an_effect_of_any_function() -> None:
    async def add(a: int, b: int = 0, *, c: int = 0) -> int:
        return a + b + c

    for policy in (Timeout(5), RETRY, Pipeline(Timeout(5), RETRY, name="p")):
        work = policy.call(add, 1, 2, c=3)
        assert isinstance(work, Effect)
        assert await work == 6
        assert await work == 6  # a value: it can be awaited once more
        assert work.__name__.endswith("add")
        assert await asyncio.create_task(policy.call(add, 1)) == 1


async def test_call_calls_anew_for_each_attempt() -> None:
    class Client:
        def __init__(self) -> None:
            self.gets = 0

        async def get(self, path: str) -> str:
            self.gets += 1
            if self.gets < 3:
                raise Boom
            return path

    client = Client()
    assert await RETRY.call(client.get, "/a") == "/a"
    assert client.gets == 3


async def test_call_takes_whatever_gives_an_awaitable() -> None:
    def give_a_future(value: Any) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future

    assert await Timeout(5).call(give_a_future, 3) == 3
    assert await Timeout(5).call(lambda: _native.trial_noop(4)) == 4
    assert await Timeout(5).call(effect(suspends), 5) == 5


async def test_call_of_a_plain_function_says_what_is_missing() -> None:
    with pytest.raises(TypeError, match="awaitable"):
        await Timeout(5).call(len, [])  # type: ignore[arg-type]


async def test_call_names_its_function_in_errors() -> None:
    with pytest.raises(TimedOut) as ended:
        await Timeout(SOON).call(forever)
    assert ended.value.effect == "forever"
