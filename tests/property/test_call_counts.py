"""Of each effect as many calls were started as have ended and are under way, however they end and whenever counting is
switched: a call is counted from its start to its end, or not at all.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from mountain_runtime import Effect, Retry, _native, constant, effect
from mountain_runtime._runtime.statistics import snapshot

from .call_ends import NATIVE, WAYS, Boom, Call, Way

#: Whether counting is on as the call begins, and from the middle of it on.
SWITCHES = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(autouse=True)
def counting_again() -> Iterator[None]:
    yield
    _native.count_effects(True)


def ends(name: str) -> Counter[str]:
    """How often each thing is counted of the effect."""
    found = snapshot().effects.get(name)
    kinds = ("started", "succeeded", "failed", "timed_out", "cancelled", "rejected")
    return Counter() if found is None else Counter({kind: getattr(found, kind) for kind in kinds})


def under_way() -> int:
    """Calls that have begun, waited and not ended, counted or not."""
    gauges = _native.statistics()
    return gauges["running"] + gauges["waiting"]


def of_one_call(call: Call, way: Way, before: bool) -> Counter[str]:
    """The counts of one call that ends in that way. It has ended for the gauges too."""
    gc.collect()
    counted, running = ends(call.name), under_way()
    _native.count_effects(before)
    asyncio.run(_alone(way, call))
    gc.collect()
    assert under_way() == running
    return Counter({kind: n - counted[kind] for kind, n in ends(call.name).items() if n > counted[kind]})


async def _alone(way: Way, call: Call) -> None:
    await way(call)


@pytest.mark.parametrize(("before", "after"), SWITCHES)
@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_counted_whole_or_not_at_all(way: str, before: bool, after: bool) -> None:
    kind, ending = WAYS[way]
    call = Call(f"counted {uuid4().hex[:8]}", lambda: _native.count_effects(after))
    counted = of_one_call(call, ending, before)
    if way == "refused":
        before = after  # the call begins after the switch
    assert counted == (Counter({"started": 1, kind: 1}) if before else Counter())


@pytest.mark.parametrize(("before", "after"), SWITCHES)
@pytest.mark.parametrize("way", NATIVE)
def test_a_native_call_is_counted_whole_or_not_at_all(way: str, before: bool, after: bool) -> None:
    name, kind, ending = NATIVE[way]
    counted = of_one_call(Call(name, lambda: _native.count_effects(after)), ending, before)
    if way == "native_past_its_deadline":
        before = after  # the call begins after the switch
    n = 2 if way == "native_part_of_a_group" else 1
    assert counted == (Counter({"started": n, kind: n}) if before else Counter())


@pytest.mark.parametrize(("before", "after"), SWITCHES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # loops that are dropped, which is what this is about
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("waits", ["suspended", "parked", "native"])
def test_a_call_whose_loop_goes_is_cancelled(waits: str, closes: bool, before: bool, after: bool) -> None:
    gc.collect()
    name = "sleep" if waits == "native" else f"counted {uuid4().hex[:8]}"
    counted, running = ends(name), under_way()
    _native.count_effects(before)
    left_on_a_loop(Call(name, lambda: None), waits, closes, lambda: _native.count_effects(after))
    gc.collect()
    gained = Counter({kind: n - counted[kind] for kind, n in ends(name).items() if n > counted[kind]})
    assert under_way() == running
    assert gained == (Counter({"started": 1, "cancelled": 1}) if before else Counter())


def left_on_a_loop(call: Call, waits: str, closes: bool, switch: Callable[[], None]) -> None:
    """A call that waits on a loop which is closed, or which nothing refers to when this returns."""
    running = under_way()
    work: dict[str, Callable[[], Effect[Any]]] = {
        "suspended": lambda: call.suspended(sleeps=30),
        "parked": lambda: call.suspended(Retry(on=Boom, backoff=constant(30)), error=Boom),
        "native": call.native,
    }
    tasks: list[asyncio.Future[Any]] = []

    async def waits_here() -> Any:
        return await work[waits]()

    async def leaves() -> None:
        tasks.append(asyncio.ensure_future(waits_here()))
        for _ in range(6):
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # of a task that is destroyed while it is pending
    loop.run_until_complete(leaves())
    assert under_way() == running + 1
    switch()
    if closes:
        loop.close()


# -- all at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_at_each_moment_what_was_started_has_ended_or_is_under_way(seed: int) -> None:
    random, name = Random(seed), f"counted {uuid4().hex[:8]}"
    gc.collect()
    alive: Counter[bool] = Counter()  # by whether the call is counted
    on = True
    running = under_way()

    def switch() -> None:
        nonlocal on
        on = random.random() < 0.5
        _native.count_effects(on)

    @effect(name=name)
    async def work(turns: int, fails: bool) -> int:
        counted = on
        alive[counted] += 1
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            if fails:
                raise Boom
            return turns
        finally:
            alive[counted] -= 1

    async def main() -> None:
        tasks: list[asyncio.Future[Any]] = []
        runs: list[Any] = []
        for _ in range(300):
            match random.randrange(7):
                case 0:
                    switch()
                case 1:
                    tasks.append(asyncio.ensure_future(work(random.randrange(5), random.random() < 0.3)))
                case 2:
                    with suppress(Boom):
                        await work(random.randrange(2), random.random() < 0.3)
                case 3 if tasks:
                    random.choice(tasks).cancel()
                case 4:
                    runs.append(work(3, False).__await__())
                    runs[-1].send(None)
                case 5 if runs:
                    runs.pop(random.randrange(len(runs))).close()
                case 6 if runs:
                    del runs[random.randrange(len(runs))]
                case _:
                    await asyncio.sleep(0)
            now = ends(name)
            assert now["started"] == sum(now.values()) - now["started"] + alive[True]
            assert under_way() == running + alive[True] + alive[False]
        runs.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    now = ends(name)
    assert now["started"] == sum(now.values()) - now["started"] > 0
    assert under_way() == running
