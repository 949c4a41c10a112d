"""Callers of a batch come and leave at any turn: what each gets, and what the function is called with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mountain_runtime import batch

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Boom(Exception): ...


@dataclass(frozen=True)
class Caller:
    """Comes at one turn, and is cancelled so many turns later, if at all."""

    item: int
    comes: int
    leaves: int | None


@dataclass(frozen=True)
class Plan:
    """A batch takes so many turns, and then fails, gives one result too few, or all of them."""

    size: int
    turns: int
    ends: str
    cleans_up: int
    callers: list[Caller]


callers = st.lists(
    st.builds(Caller, st.integers(0, 3), st.integers(0, 5), st.none() | st.integers(0, 8)), min_size=1, max_size=8
)
plans = st.builds(
    Plan,
    size=st.integers(1, 5),
    turns=st.integers(0, 4),
    ends=st.sampled_from(["gives", "fails", "short"]),
    cleans_up=st.integers(0, 3),
    callers=callers,
)


@dataclass
class Played:
    lists: list[list[int]] = field(default_factory=list)
    running: int = 0
    #: Of each caller, by its place: what it was given.
    got: dict[int, Any] = field(default_factory=dict)


async def play(plan: Plan) -> Played:
    seen = Played()

    @batch(plan.size)
    async def load(ids: list[int]) -> list[int | Exception]:
        seen.lists.append(ids)
        seen.running += 1
        try:
            for _ in range(plan.turns):
                await asyncio.sleep(0)
            if plan.ends == "fails":
                raise Boom
            found: list[int | Exception] = [Boom() if each == 3 else each * 10 for each in ids]
            return found[:-1] if plan.ends == "short" else found
        except asyncio.CancelledError:
            for _ in range(plan.cleans_up):
                await asyncio.sleep(0)
            raise
        finally:
            seen.running -= 1

    async def call(place: int, caller: Caller) -> None:
        try:
            seen.got[place] = await load(caller.item)
        except BaseException as error:
            seen.got[place] = error

    tasks: dict[int, asyncio.Task[None]] = {}
    cancelled = set()
    for turn in range(16):
        for place, caller in enumerate(plan.callers):
            if caller.comes == turn:
                tasks[place] = asyncio.create_task(call(place, caller))
            if caller.leaves is not None and caller.comes + caller.leaves == turn and tasks[place].cancel():
                cancelled.add(place)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks.values(), return_exceptions=True), 5)  # none hangs
    assert seen.running == 0
    for place, caller in enumerate(plan.callers):
        judge(plan, caller, seen.got.get(place), place in cancelled)
    # Each list has items that callers came for, and no call is in two lists.
    assert all(0 < len(each) <= plan.size for each in seen.lists)
    called = sorted(item for each in seen.lists for item in each)
    came = [caller.item for caller in plan.callers]
    assert all(called.count(item) <= came.count(item) for item in called)
    stayed = [caller.item for place, caller in enumerate(plan.callers) if place not in cancelled]
    assert all(called.count(item) >= stayed.count(item) for item in stayed)
    return seen


def judge(plan: Plan, caller: Caller, got: Any, cancelled: bool) -> None:
    """Compares with the outcomes that the model allows."""
    if cancelled and (got is None or isinstance(got, asyncio.CancelledError)):
        return
    if plan.ends == "gives" and caller.item != 3:
        assert got == caller.item * 10
    else:
        assert isinstance(got, ValueError if plan.ends == "short" else Boom)


@pytest.mark.parametrize("loop", LOOPS)
@given(plan=plans)
def test_each_caller_gets_its_own(loop: str, plan: Plan) -> None:
    make: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(play(plan))
