"""Cancels of a hedged call: all attempts end, cleaned up, before the cancel goes on."""

import asyncio
from typing import Any

import anyio
import pytest

from mountain_runtime import ConcurrencyLimit, Hedge, Timeout, effect
from mountain_runtime.errors import TimedOut
from tests.effect.support import LONG, ticks
from tests.policy.hedged import LATER, Attempts, ends

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


async def test_a_cancel_ends_the_first_then_the_other_and_keeps_its_message() -> None:
    made = Attempts(LONG, LONG)
    task = asyncio.create_task(made.ends(made.hedged()()))
    await asyncio.sleep(LATER * 2)
    task.cancel("enough")
    error = await task
    assert made.events == ["0 cleaned up", "1 cleaned up", "CancelledError"]
    assert error.args == ("enough",)


async def test_a_second_cancel_waits_for_the_other_too() -> None:
    made = Attempts(LONG, LONG)
    task = asyncio.create_task(made.ends(made.hedged()()))
    await asyncio.sleep(LATER * 2)
    task.cancel("enough")
    while made.events != ["0 cleaned up"]:
        await asyncio.sleep(0)
    task.cancel("again")
    error = await task
    assert made.events == ["0 cleaned up", "1 cleaned up", "CancelledError"]
    assert error.args == ("enough",)


async def test_a_cancel_before_the_second_begins_none() -> None:
    """The first cleans up for longer than the hedge waits."""
    tasks: list[Any] = []
    events: list[str] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(LATER * 5)
            events.append("cleaned up")

    task = asyncio.create_task(ends(run()))
    await asyncio.sleep(LATER / 2)
    task.cancel("enough")
    error = await task
    assert (events, len(tasks), error.args) == (["cleaned up"], 1, ("enough",))


async def test_a_timeout_before_the_second_begins_none() -> None:
    tasks: list[Any] = []

    @effect(Timeout(LATER / 2), Hedge(LATER, budget=None))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(LATER * 5)

    assert isinstance(await ends(run()), TimedOut)
    assert len(tasks) == 1


async def test_code_that_cancels_itself_for_a_while_leaves_the_hedge_alone() -> None:
    """asyncio.timeout() cancels the caller's task, and takes that back: it is no cancel of the call."""
    tasks: list[Any] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> int:
        number = len(tasks)
        tasks.append(asyncio.current_task())
        if number == 0:
            try:
                async with asyncio.timeout(LATER * 2):
                    await asyncio.sleep(LONG)
            except TimeoutError:
                await asyncio.sleep(LONG)
        await asyncio.sleep(LATER * 3)
        return number

    assert await run() == 1


async def test_a_cancel_while_the_loser_cleans_up_wins() -> None:
    tasks: list[Any] = []
    events: list[str] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> int:
        number = len(tasks)
        tasks.append(asyncio.current_task())
        if number == 0:
            try:
                await asyncio.sleep(LONG)
            finally:
                caller.cancel("enough")
                try:
                    await ticks(5)
                finally:
                    events.append("cleaned up")
        return number

    caller = asyncio.create_task(ends(run()))
    error = await caller
    assert isinstance(error, asyncio.CancelledError)
    assert (events, error.args) == (["cleaned up"], ("enough",))


async def test_a_cancel_at_any_turn_of_the_loop_leaves_nothing_behind() -> None:
    for turns in range(1, 40):
        made = Attempts(LATER * 2, LATER)
        limit = ConcurrencyLimit(2)
        call = asyncio.create_task(ends(made.hedged(inside=(limit,))()))
        for _ in range(turns):
            await asyncio.sleep(LATER / 8)
        ended = call.done()
        call.cancel("enough")
        if not ended:
            error = await call
            assert isinstance(error, asyncio.CancelledError), turns
            assert error.args == ("enough",)
        assert all(task is call or task.done() for task in made.tasks)
        assert limit.statistics().in_flight == 0
        if ended:
            call.exception()
            break
    else:
        raise AssertionError("the call never ended by itself")


async def test_an_anyio_scope_that_is_left_ends_both() -> None:
    made = Attempts(LONG, LONG)
    with anyio.move_on_after(LATER * 2):
        await made.hedged()()
    assert sorted(made.events) == ["0 cleaned up", "1 cleaned up"] or made.events == ["1 cleaned up"]
    assert all(task.done() for task in made.tasks[1:])


async def test_a_scope_that_cancels_again_and_again_costs_no_turns_while_the_other_cleans_up() -> None:
    tasks: list[Any] = []
    turns = 0

    @effect(Hedge(LATER, budget=None))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        if len(tasks) == 1:
            await asyncio.sleep(LONG)
        try:
            await asyncio.sleep(LONG)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(LONG)

    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal turns
        turns += 1
        return call_soon(*args, **kwargs)

    with anyio.move_on_after(LATER * 2):
        loop.call_later(LATER * 2.5, setattr, loop, "call_soon", counted)
        try:
            await run()
        finally:
            del loop.call_soon
    assert tasks[1].done()
    assert turns < 100
