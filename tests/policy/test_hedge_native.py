"""Hedges of native effects, of blocking functions, and of calls whose loop or process ends."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Hedge,
    Retry,
    Runtime,
    Timeout,
    blocking,
    constant,
    effect,
    fs,
    gather,
)
from mountain_runtime._native import is_native, trial_sleep
from mountain_runtime.errors import TimedOut
from tests.effect.support import LONG, collect, ticks
from tests.policy.hedged import LATER, Attempts, ends

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"])]
virtual = pytest.mark.usefixtures("virtual_clock")


async def test_a_file_is_read_natively(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    hedge = Hedge(0, budget=None)
    read = fs.read_text(path).under(Timeout(5), hedge)
    assert is_native(read)
    for _ in range(50):
        assert await read == "hello"
    statistics = hedge.statistics()
    assert statistics["won"] <= statistics["hedged"] <= 50


async def test_natively_an_error_is_that_of_the_first_attempt(tmp_path: Path) -> None:
    missing = fs.read_text(tmp_path / "none").under(Hedge(0, budget=None))
    error = await ends(missing)
    assert isinstance(error, FileNotFoundError)


@virtual
async def test_natively_the_winner_s_value_comes_once_the_other_has_ended() -> None:
    hedge = Hedge(LATER, attempts=3, budget=None)
    nap = trial_sleep(1).under(hedge)
    assert is_native(nap)
    begun = asyncio.get_running_loop().time()
    await nap
    assert asyncio.get_running_loop().time() - begun == pytest.approx(1)
    assert hedge.statistics() == {"hedged": 2, "won": 0, "refused": 0}


@virtual
async def test_natively_a_timeout_a_cancel_and_limits_hold() -> None:
    limit = ConcurrencyLimit(2)
    breaker = CircuitBreaker(failures=1)
    nap = trial_sleep(LONG).under(Timeout(1), Hedge(LATER, budget=None), breaker, limit)
    assert is_native(nap)
    error = await ends(nap)
    assert isinstance(error, TimedOut)
    assert (error.policy, error.attempt) == ("Timeout(1)", 2)
    assert limit.statistics().in_flight == 0
    hedge = Hedge(LATER, budget=None)
    task = asyncio.ensure_future(trial_sleep(LONG).under(hedge, limit))
    await asyncio.sleep(LATER * 2)
    assert limit.statistics().in_flight == 2
    task.cancel()
    assert isinstance(await ends(task), asyncio.CancelledError)
    await ticks()
    assert limit.statistics().in_flight == 0
    assert hedge.statistics()["hedged"] == 1


@virtual
async def test_natively_a_retry_inside_tries_each_attempt_again(tmp_path: Path) -> None:
    again = Retry(on=OSError, attempts=3, backoff=constant(LATER))
    read = fs.read_bytes(tmp_path / "none").under(Hedge(LATER / 2, budget=None), again)
    assert is_native(read)
    error = await ends(read)
    assert isinstance(error, FileNotFoundError)
    assert "failed too: FileNotFoundError" in "".join(error.__notes__)


@virtual
async def test_in_a_native_group_each_child_is_hedged() -> None:
    hedge = Hedge(LATER, budget=None)
    naps = gather(*(trial_sleep(1).under(hedge) for _ in range(3)))
    await naps
    assert hedge.statistics()["hedged"] == 3


async def test_a_thread_that_loses_goes_on_and_its_caller_does_not_wait() -> None:
    """In real time, which a thread at work lets pass."""
    go = threading.Event()
    calls: list[int] = []
    limit = ConcurrencyLimit(2)

    @blocking(Hedge(0.005, budget=None), limit)
    def work() -> int:
        calls.append(len(calls))
        number = len(calls)
        if number == 1:
            go.wait(10)
        return number

    async with Runtime():
        try:
            assert await work() == 2
            assert limit.statistics().in_flight == 1, "the thread keeps its place until its end"
        finally:
            go.set()
        while limit.statistics().in_flight:
            await asyncio.sleep(0)


async def test_a_loop_that_is_closed_loses_its_attempts() -> None:
    await asyncio.to_thread(_closes_in_mid_call)


def _closes_in_mid_call() -> None:
    limit = ConcurrencyLimit(2)
    made = Attempts(LONG, LONG)
    loop = asyncio.new_event_loop()
    call = loop.create_task(ends(made.hedged(inside=(limit,), hedge=Hedge(0, budget=None))()))
    loop.run_until_complete(asyncio.sleep(0.01))  # real: the loop is an ordinary one
    assert limit.statistics().in_flight == 2
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task
    loop.close()
    del call, loop
    made.tasks.clear()
    collect()
    assert limit.statistics().in_flight == 0, "nothing of the call is left"


@virtual
async def test_an_exit_in_an_attempt_ends_the_others() -> None:
    class Stop(BaseException):
        pass

    tasks: list[Any] = []

    @effect(Hedge(LATER, budget=None))
    async def run() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(LATER * 2 if len(tasks) == 1 else LONG)
        raise Stop

    with pytest.raises(Stop):
        await run()
    assert tasks[1].cancelled()


@virtual
async def test_an_effect_that_closes_its_run_leaves_no_attempt() -> None:
    made = Attempts(LONG, LONG)
    run = made.hedged()().__await__()
    task = asyncio.ensure_future(_drive(run))
    await asyncio.sleep(LATER * 2)
    assert len(made.tasks) == 2
    task.cancel()
    assert isinstance(await ends(task), asyncio.CancelledError)
    assert made.tasks[1].done()


async def _drive(run: Any) -> Any:
    class Of:
        def __await__(self) -> Any:
            return run

    return await Of()
