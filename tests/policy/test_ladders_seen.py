"""Ladders: limits and cancels reach the rung, and the statistics, a dump and a repr name it."""

import asyncio
import functools
from typing import Any

import pytest

from mountain_runtime import Fallback, Runtime, Timeout, effect
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import Boom, forever, outcome


@effect
async def other(a: int, b: int = 10) -> tuple[int, int]:
    return a, b


def under(to: Any, **names: Any) -> Any:
    """A function of one argument that always fails, under a fallback."""

    async def fails_with(a: int) -> Any:
        raise Boom

    return effect(Fallback(to, on=Boom), **names)(fails_with)


class Api:
    @effect
    async def small(self, text: str) -> str:
        return text


async def one(a: int) -> None: ...


# -- limits and cancels --------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_rung_stands_under_the_limits_around_it(virtual_clock: VirtualClock) -> None:
    @effect
    async def slow(a: int) -> None:
        await forever()

    @effect(Timeout(3), Fallback(slow, on=TimedOut), Timeout(1))
    async def big(a: int) -> None:
        await forever()

    with pytest.raises(TimedOut) as caught:
        await big(1)
    assert virtual_clock.time() == 3
    assert caught.value.policy is not None
    assert caught.value.policy.startswith("Timeout(3)")


async def test_a_cancel_at_any_point_runs_the_cleanup_and_gives_no_value() -> None:
    steps, cleaned = 6, []

    @effect
    async def small(a: int) -> int:
        try:
            for _ in range(2):
                await asyncio.sleep(0)
            return a
        finally:
            await asyncio.sleep(0)
            cleaned.append("small")

    @effect(Fallback(small, on=Boom))
    async def big(a: int) -> int:
        try:
            await asyncio.sleep(0)
            raise Boom
        finally:
            cleaned.append("big")

    ended = []
    for after in range(1, steps + 3):
        cleaned.clear()
        task = asyncio.create_task(big(5))
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        ended.append(task.cancelled())
        assert task.cancelled() or task.result() == 5
        assert cleaned[:1] == ["big"]
        assert len(cleaned) == len(set(cleaned))
    assert True in ended
    assert ended[-1] is False


# -- it is seen ----------------------------------------------------------------------------------------------


async def test_each_rung_is_counted_by_its_name() -> None:
    name = f"ladder on {type(asyncio.get_running_loop())}"

    @effect(name="small model")
    async def small(a: int) -> str:
        if a > 2:
            raise KeyError
        return "small"

    def apology(error: Exception) -> str:
        return "sorry"

    @effect(Fallback(apology, on=KeyError), Fallback(small, on=Boom), name=name)
    async def big(a: int) -> str:
        if a == 0:
            return "big"
        raise Boom

    assert [await big(a) for a in range(4)] == ["big", "small", "small", "sorry"]
    await outcome(under(other, name=f"another {name}")(1))
    async with Runtime() as rt:
        effects = rt.statistics().effects
    found = effects[name]
    assert found.fallbacks == {"small model": 2, "apology": 1}
    assert found.degraded == 3
    assert effects[f"another {name}"].fallbacks == {"other": 1}
    assert effects["small model"].fallbacks == {}


async def test_a_running_rung_shows_in_a_dump() -> None:
    begun = asyncio.Event()

    @effect(name="slow rung")
    async def slow(a: int) -> None:
        begun.set()
        await forever()

    async with Runtime() as rt:
        task = asyncio.create_task(under(slow, name="on a ladder")(1))
        await begun.wait()
        [found] = [each for each in rt.dump().effects if each["name"] == "on a ladder"]
        assert (found["state"], found["on"]) == ("falling back", "Fallback(slow rung, on=Boom)")
        task.cancel()
        await asyncio.wait([task])


def test_its_repr_has_the_effect_s_name() -> None:
    assert repr(Fallback(effect(name="small model")(one), on=Boom)) == "Fallback(small model, on=Boom)"
    assert repr(Fallback(Api().small, on=Boom)) == "Fallback(Api.small, on=Boom)"
    assert repr(Fallback(functools.partial(other, b=1), on=Boom)) == "Fallback(other, on=Boom)"
