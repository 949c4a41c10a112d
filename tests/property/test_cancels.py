"""Whatever is cancelled, whenever: every cleanup runs, an accepted cancel is one, and nothing is left behind."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mountain_runtime import Effect, Policy, Retry, Timeout, _native, blocking, constant, effect, gather, race
from mountain_runtime.errors import TimedOut

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Boom(Exception): ...


on_thread = blocking(int)

moments = st.sampled_from([0.0, 0.0005, 0.001, 0.002])
layers = st.one_of(
    moments.map(Timeout),
    st.just(Timeout(1000)),
    st.builds(
        Retry,
        on=st.sampled_from([Boom, OSError, (Boom, OSError)]),
        attempts=st.integers(1, 3),
        backoff=moments.map(constant),
    ),
)


@dataclass(frozen=True)
class Plan:
    """One caller: what it runs, and after how many ticks of the loop, or how long, it is cancelled."""

    kind: str
    policies: list[Policy]
    waits: list[str]
    cleanup: list[str]
    cancel_after: int | float | None


waits = st.lists(st.sampled_from(["tick", "sleep", "native", "thread", "boom"]), max_size=3)
plans = st.builds(
    Plan,
    kind=st.sampled_from(["coroutine", "native", "gather", "race"]),
    policies=st.lists(layers, max_size=3),
    waits=waits,
    cleanup=st.lists(st.sampled_from(["tick", "native"]), max_size=2),
    cancel_after=st.none() | st.integers(0, 5) | moments,
)


@dataclass
class Ledger:
    begun: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)


async def wait(kind: str) -> None:
    match kind:
        case "tick":
            await asyncio.sleep(0)
        case "sleep":
            await asyncio.sleep(0.001)  # about as long as the limits: what comes first is luck
        case "native":
            await _native.trial_sleep(0.0005)
        case "thread":
            await on_thread()
        case "boom":
            raise Boom


def build(plan: Plan, ledger: Ledger) -> Effect[Any]:
    @effect(*plan.policies)
    async def leaf() -> None:
        ledger.begun += 1
        try:
            for each in plan.waits:
                await wait(each)
        finally:
            try:
                for each in plan.cleanup:
                    await wait(each)
            finally:  # the cleanup itself may be what a cancel meets
                ledger.ended += 1

    match plan.kind:
        case "native":
            return _native.trial_sleep(0.001).under(*plan.policies)
        case "gather":
            return gather([leaf(), leaf(), _native.trial_sleep(0.0005)])
        case "race":
            return race(leaf(), _native.trial_sleep(0.001), leaf())
        case _:
            return leaf()


async def caller(plan: Plan, ledger: Ledger, cancelled: list[bool]) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        await build(plan, ledger)
    except (Boom, TimedOut, ExceptionGroup):
        pass
    finally:
        if task.cancelling() != len(cancelled):
            ledger.wrong.append(f"{task.cancelling()} cancels are left of {len(cancelled)}: {plan}")


async def cancel_later(task: "asyncio.Task[Any]", after: float | None, cancelled: list[bool]) -> None:
    if after is None:
        return
    if isinstance(after, int):
        for _ in range(after):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(after)  # the moment in which a limit passes as well
    if not task.done():
        cancelled.append(True)
        task.cancel()


async def program(callers: list[Plan]) -> None:
    others = _native.statistics()["timers"]  # of what other tests have left to the collector
    ledger = Ledger()
    tasks = []
    for plan in callers:
        cancelled: list[bool] = []
        task = asyncio.create_task(caller(plan, ledger, cancelled))
        tasks.append((task, cancelled, asyncio.create_task(cancel_later(task, plan.cancel_after, cancelled))))
    for task, cancelled, _ in tasks:
        await asyncio.wait([task])
        await asyncio.sleep(0)
        if cancelled:
            # One that came after the last await inside the effect is seen by the caller's own end only.
            assert task.cancelled() or task.exception() is None
        else:
            assert not task.cancelled()
            assert task.exception() is None
    for _, _, canceller in tasks:
        await canceller
    assert ledger.wrong == []
    assert ledger.begun == ledger.ended
    for _ in range(1000):
        left = _native.statistics()
        left["timers"] = max(0, left["timers"] - others)
        if not any(left[gauge] for gauge in ("timers", "running", "abandoned_threads")):
            break
        await asyncio.sleep(0.001)  # a thread that was left to itself is about to end
    assert {gauge: left[gauge] for gauge in ("timers", "running", "abandoned_threads")} == dict.fromkeys(
        ("timers", "running", "abandoned_threads"), 0
    )
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@pytest.mark.parametrize("loop", LOOPS)
@given(callers=st.lists(plans, min_size=1, max_size=5))
def test_nothing_is_left_behind(loop: str, callers: list[Plan]) -> None:
    said: list[dict[str, Any]] = []
    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: said.append(context))
        runner.run(program(callers))
        gc.collect(0)
    assert said == []
