"""A hedge: which attempt wins, what the attempts get of the call, and how the others end."""

import asyncio
import contextvars
from typing import Any

import pytest

from mountain_runtime import Hedge, Retry, Timeout, constant, deadline, effect
from mountain_runtime._native import current_deadline
from mountain_runtime.errors import TimedOut
from tests.effect.support import LONG
from tests.policy.hedged import LATER, Attempts, ends

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.usefixtures("virtual_clock")]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_success_wins_and_the_other_s_cleanup_is_awaited() -> None:
    made = Attempts(LONG, LATER)
    assert await made.hedged()() == 1
    assert made.events == ["0 cleaned up"]
    mine = asyncio.current_task()
    assert made.tasks[0] is mine is not made.tasks[1], "the first attempt runs in the caller's task"
    assert mine.cancelling() == 0


async def test_one_that_ends_in_time_is_alone() -> None:
    made = Attempts(LATER / 2)
    assert await made.hedged()() == 0
    assert (made.events, len(made.tasks)) == ([], 1)


async def test_the_first_may_still_win() -> None:
    made = Attempts(LATER * 2, LONG)
    assert await made.hedged()() == 0
    assert made.events == ["1 cleaned up"]


async def test_where_all_fail_the_first_attempt_s_error_is_raised_with_its_frames_and_the_others_noted() -> None:
    made = Attempts(LATER * 4, LATER, LATER, fails=3)
    error = await ends(made.hedged(hedge=Hedge(LATER, attempts=3, budget=None))())
    assert error.args == (0,)
    frames, at = [], error.__traceback__
    while at is not None:
        frames.append(at.tb_frame.f_code.co_name)
        at = at.tb_next
    assert frames[-1] == "run"
    noted = "\n".join(error.__notes__)
    assert "the attempts beside this one failed too: ValueError(1); ValueError(2)" in noted
    assert "attempted 3 times" in noted
    assert "last failure" not in noted


async def test_of_many_failures_the_note_names_a_few() -> None:
    made = Attempts(*[LATER * 20] * 9, fails=9)
    error = await ends(made.hedged(hedge=Hedge(LATER, attempts=9, budget=None))())
    assert "ValueError(5); and 3 more" in "\n".join(error.__notes__)


async def test_a_first_attempt_that_fails_in_time_is_not_tried_again() -> None:
    made = Attempts(LATER / 2, LATER, fails=1)
    error = await ends(made.hedged()())
    assert (error.args, len(made.tasks)) == ((0,), 1)
    assert not hasattr(error, "__notes__")


async def test_a_hedge_that_fails_leaves_the_first_to_succeed() -> None:
    """M10: the hedge fails after 21 ms, the first attempt succeeds after 100."""

    async def run() -> str:
        tasks.append(asyncio.current_task())
        if len(tasks) == 1:
            await asyncio.sleep(0.1)
            return "first"
        await asyncio.sleep(0.001)
        raise OSError("refused")

    tasks: list[Any] = []
    begun = now()
    assert await Hedge(0.02, budget=None).call(run) == "first"
    assert now() - begun == pytest.approx(0.1)
    assert len(tasks) == 2


async def test_attempts_begin_at_even_intervals_and_no_more_than_allowed() -> None:
    begun: list[float] = []

    @effect(Timeout(LATER * 10), Hedge(LATER, attempts=3, budget=None))
    async def run() -> None:
        begun.append(now())
        await asyncio.sleep(LONG)

    assert isinstance(await ends(run()), TimedOut)
    assert [at - begun[0] for at in begun] == pytest.approx([0, LATER, 2 * LATER])


async def test_at_once() -> None:
    made = Attempts(LONG, 1)
    assert await made.hedged(hedge=Hedge(0, budget=None))() == 1


async def test_a_timeout_asks_both_and_waits_for_both() -> None:
    made = Attempts(LONG, LONG)
    await made.ends(made.hedged(Timeout(LATER * 2))())
    assert sorted(made.events[:2]) == ["0 cleaned up", "1 cleaned up"]
    assert made.events[2:] == ["TimedOut"]


async def test_a_deadline_asks_both_and_waits_for_both() -> None:
    made = Attempts(LONG, LONG)

    async def within() -> None:
        async with deadline(LATER * 2):
            await made.hedged()()

    await made.ends(within())
    assert sorted(made.events[:2]) == ["0 cleaned up", "1 cleaned up"]
    assert made.events[2:] == ["TimedOut"]


async def test_a_timeout_inside_ends_its_own_attempt_alone() -> None:
    made = Attempts(LONG, LATER * 1.5)
    assert await made.hedged(inside=(Timeout(LATER * 2),))() == 1
    assert made.events == ["0 cleaned up"]


async def test_where_each_attempt_runs_out_of_time_the_first_one_says_so() -> None:
    made = Attempts(LONG, LONG)
    error = await made.ends(made.hedged(inside=(Timeout(LATER * 2),))())
    assert made.events == ["0 cleaned up", "1 cleaned up", "TimedOut"]
    assert isinstance(error, TimedOut)
    assert error.policy == f"Timeout({LATER * 2})"


async def test_an_attempt_that_swallows_its_cancel_is_waited_for() -> None:
    ended: list[int] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> int:
        number = len(ended_at)
        ended_at.append(0.0)
        if number == 0:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                await asyncio.sleep(3)
            ended.append(number)
            return 99
        return number

    ended_at: list[float] = []
    begun = now()
    assert await run() == 1
    assert ended == [0]
    assert now() - begun == pytest.approx(LATER + 3)


async def test_each_attempt_has_a_copy_of_the_caller_s_context() -> None:
    var = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> None:
        seen.append(var.get())
        if len(seen) == 2:
            var.set("changed")
            return
        await asyncio.sleep(LONG)

    var.set("mine")
    await run()
    assert (seen, var.get()) == (["mine", "mine"], "mine")


async def test_an_attempt_has_the_deadline_of_its_caller() -> None:
    left: list[float] = []

    @effect(Timeout(5), Hedge(1, budget=None))
    async def run() -> None:
        found = current_deadline()
        assert found is not None
        left.append(found.remaining())
        await asyncio.sleep(LONG)

    error = await ends(run())
    assert isinstance(error, TimedOut)
    assert left == pytest.approx([5, 4])
    assert error.policy == "Timeout(5)"


async def test_a_retry_inside_gives_up_what_does_not_fit_the_callers_limit() -> None:
    tries = Retry(on=ValueError, backoff=constant(60))

    @effect(Timeout(5), Hedge(1, budget=None), tries)
    async def run() -> None:
        await asyncio.sleep(1.5)
        raise ValueError("no")

    begun = now()
    error = await ends(run())
    assert isinstance(error, ValueError)
    assert now() - begun == pytest.approx(2.5)
    assert "does not fit Timeout(5)" in "".join(error.__notes__)


@pytest.mark.parametrize("block", [False, True])
async def test_a_call_ran_out_of_its_caller_s_time_whichever_attempt_sees_it(*, block: bool) -> None:
    """The first has failed already; the second fails as the time is up, and its Retry sees that before the caller."""
    tasks: list[Any] = []
    around = () if block else (Timeout(1),)

    @effect(*around, Hedge(LATER, budget=None), Retry(on=ValueError, attempts=None, backoff=constant(0)))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        if len(tasks) == 1:
            await asyncio.sleep(LATER * 2)
            raise KeyError("not tried again")
        await asyncio.sleep(0.9)
        raise ValueError("no")

    async def within() -> None:
        async with deadline(1):
            await run()

    error = await ends(within() if block else run())
    assert isinstance(error, TimedOut)
    if not block:
        assert error.policy == "Timeout(1)"


async def test_it_takes_no_generator() -> None:
    @effect(Hedge(LATER))
    async def takes(items: object) -> None: ...

    with pytest.raises(TypeError, match="generator"):
        await takes(n for n in range(3))


async def test_a_call_in_a_submitted_effect_hedges() -> None:
    made = Attempts(LONG, LATER)
    inner = made.hedged()

    @effect
    async def outer() -> int:
        return await inner()

    assert await outer() == 1
