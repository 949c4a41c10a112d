"""Cancels at every await point of a stream: what it holds comes back, and its cleanup is whole."""

import asyncio
from typing import Any

import anyio
import pytest

from mountain_runtime import ConcurrencyLimit, Fallback, Idle, Retry, Timeout, constant, stream
from mountain_runtime._native import statistics

from .support import Boom, Log, attempts, collect, outcome, rest, script

TURNS = 40


def stacks(one: ConcurrencyLimit) -> dict[str, tuple[Any, ...]]:
    again = Retry(on=Boom, attempts=3, backoff=constant(0))
    return {
        "none": (),
        "limit": (one,),
        "timeout": (Timeout(60), one),
        "all": (Timeout(60), Fallback(lambda _: "spare", on=Boom), again, one, Idle(30)),
        "inside out": (Idle(30), one, again, Timeout(60)),
    }


async def body(source: Any) -> None:
    async with source as items:
        async for _ in items:
            await asyncio.sleep(0)
            if _ == "last":
                break


@pytest.mark.parametrize("stack", list(stacks(ConcurrencyLimit(1))))
async def test_a_cancel_at_each_turn(stack: str, loop_complaints: list[str]) -> None:
    running = statistics()["running"]
    ends = set()
    for turns in range(TURNS):
        one, log = ConcurrencyLimit(1), Log()
        source = stream(*stacks(one)[stack])(attempts)
        first: tuple[Any, ...] = (0.0, Boom()) if stack in ("all", "inside out") else (0.0, "x", 0.0, "last", 0.0)
        task = asyncio.create_task(body(source(log, first, (0.0, "a", 0.0, "b", 0.0, "last", "never"), cleanup=None)))
        await rest(turns)
        task.cancel(f"at {turns}")
        ended = await outcome(task)
        assert ended is None or ended.args == (f"at {turns}",)
        ends.add("done" if ended is None else "cancelled")
        await rest()
        assert log.opened == log.closed, (turns, log)
        assert one.statistics().in_flight == 0
    assert ends == {"done", "cancelled"}
    collect()
    assert statistics()["running"] == running
    assert loop_complaints == []


@pytest.mark.parametrize("stack", list(stacks(ConcurrencyLimit(1))))
async def test_a_scope_of_anyio_at_each_turn(stack: str, loop_complaints: list[str]) -> None:
    """Its cancels come again in each turn until the task has left the scope."""
    for turns in range(TURNS):
        one, log = ConcurrencyLimit(1), Log()
        source = stream(*stacks(one)[stack])(script)(log, 0.0, "a", 0.0, "b", 0.0, "last", "never", cleanup=None)

        async def scoped(scope: anyio.CancelScope, source: Any = source) -> None:
            with scope:
                await body(source)

        scope = anyio.CancelScope()
        task = asyncio.create_task(scoped(scope))
        await rest(turns)
        scope.cancel()
        await task
        assert log.opened == log.closed, (turns, log)
        assert one.statistics().in_flight == 0
    assert loop_complaints == []


async def test_two_cancels_of_a_leaving() -> None:
    """The second one reaches the cleanup, as it does in a generator's own."""
    log, one = Log(), ConcurrencyLimit(1)
    source = stream(Timeout(60), one)(script)(log, "a", "b", cleanup=99)
    task = asyncio.create_task(body(source))
    await rest(1)
    for message in ("first", "second"):
        task.cancel(message)
        await rest(3)
    with pytest.raises(asyncio.CancelledError) as ended:
        await task
    assert ended.value.args == ("second",)
    assert one.statistics().in_flight == 0


async def test_a_cancel_while_another_task_pulls_waits_and_closes() -> None:
    log = Log()

    async def leaves() -> None:
        async with stream(Timeout(60))(script)(log, "a", 0.02, "b", "c") as items:
            await anext(items)
            pulls.append(asyncio.create_task(anext(items)))  # type: ignore[arg-type]
            await rest(2)

    pulls: list[asyncio.Task[Any]] = []
    task = asyncio.create_task(leaves())
    await rest(4)
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as ended:
        await task
    assert ended.value.args == ("mine",)
    assert await pulls[0] == "b"
    assert log == ["opened", "GeneratorExit", "closed"]
