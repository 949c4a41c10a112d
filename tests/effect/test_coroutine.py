"""An effect is a coroutine to asyncio: send, throw, close, and what debuggers read."""

import asyncio
import inspect
import io
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from mountain_runtime import Effect, Retry, Runtime, Timeout, amap, constant, effect
from mountain_runtime._native import effect_statistics, statistics
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep

from .support import LONG, SOON, Boom, collect, forever, ticks, value


async def test_it_is_taken_for_a_coroutine() -> None:
    work = effect(value)(1)
    assert isinstance(work, Coroutine)
    assert asyncio.iscoroutine(work)
    assert inspect.isawaitable(work)
    assert await work == 1


async def test_everything_of_asyncio_takes_it() -> None:
    make = effect(Timeout(LONG))(value)
    assert await asyncio.create_task(make(1)) == 1
    assert await asyncio.ensure_future(make(2)) == 2
    assert await asyncio.gather(make(3), noop(4)) == [3, 4]
    assert await asyncio.wait_for(make(5), LONG) == 5
    assert await asyncio.shield(make(6)) == 6
    done, _ = await asyncio.wait([asyncio.create_task(make(7))])
    assert [task.result() for task in done] == [7]
    assert sorted([await first for first in asyncio.as_completed([make(8), make(9)])]) == [8, 9]


def test_asyncio_run_takes_it() -> None:
    assert asyncio.run(effect(Timeout(LONG))(asyncio.sleep)(0, 3)) == 3
    assert asyncio.run(noop(4)) == 4


async def test_each_await_runs_it_once_more() -> None:
    runs = 0

    @effect
    async def counts() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    work = counts()
    assert [await work, await work, await work] == [1, 2, 3]
    assert await asyncio.create_task(work) == 4
    assert await asyncio.create_task(work) == 5


async def test_an_await_while_another_runs() -> None:
    """Two awaits of one value are two runs."""
    work = effect(asyncio.sleep)(0, "v")

    async def caller() -> Any:
        return await work

    assert await asyncio.gather(caller(), caller()) == ["v", "v"]


async def test_two_tasks_may_not_drive_one_value_at_once() -> None:
    work = effect(Timeout(LONG))(asyncio.sleep)(0, "v")
    first = asyncio.create_task(work)
    second = asyncio.create_task(work)
    results = await asyncio.gather(first, second, return_exceptions=True)
    values = [r for r in results if r == "v"]
    errors = [r for r in results if isinstance(r, RuntimeError)]
    if errors:
        assert len(values) == 1
        assert "submit" in str(errors[0])
    else:
        # An eager task has ended its run before the next begins only if nothing suspends: here something does.
        pytest.fail("both tasks drove it")
    assert await asyncio.create_task(work) == "v"


async def test_one_iterator_is_awaited_once() -> None:
    """A second await of one run is an error, while it runs and after."""
    for work in (effect(Timeout(LONG))(asyncio.sleep)(0.005, "v"), effect(Retry(on=Boom))(asyncio.sleep)(0, "v")):
        run = work.__await__()

        class Same:
            def __init__(self, run: Generator[Any, Any, Any]) -> None:
                self.run = run

            def __await__(self) -> Generator[Any, Any, Any]:
                return self.run

        async def wait(same: Same) -> Any:
            return await same

        same = Same(run)
        first = asyncio.create_task(wait(same))
        await asyncio.sleep(0)
        assert await first == "v"
        with pytest.raises(RuntimeError, match="already awaited"):
            await wait(same)


async def test_a_parked_run_refuses_a_second_await() -> None:
    async def fails() -> None:
        raise Boom

    run = effect(Retry(on=Boom, attempts=2, backoff=constant(0.02)))(fails)().__await__()

    class Same:
        def __await__(self) -> Generator[Any, Any, Any]:
            return run

    async def wait() -> Any:
        return await Same()

    first = asyncio.create_task(wait())
    await ticks(2)
    with pytest.raises(RuntimeError, match="already being awaited"):
        await wait()
    with pytest.raises(Boom):
        await first


async def test_throw_reaches_the_leaf() -> None:
    seen: list[str] = []

    @effect(Retry(on=KeyError))
    async def leaf() -> str:
        try:
            await forever()
        except Boom:
            seen.append("boom")
        return "caught"

    work = leaf()
    assert asyncio.isfuture(work.send(None))
    with pytest.raises(StopIteration) as end:
        work.throw(Boom())
    assert end.value.value == "caught"
    assert seen == ["boom"]


async def test_throw_before_anything_is_all_that_happens() -> None:
    work = effect(value)(1)
    with pytest.raises(Boom):
        work.throw(Boom())
    with pytest.raises(Boom):
        effect(value)(1).throw(Boom)
    assert await work == 1


async def test_close_runs_the_leafs_cleanup() -> None:
    log: list[str] = []

    @effect(Timeout(LONG))
    async def leaf() -> None:
        try:
            await forever()
        finally:
            log.append("closed")

    work = leaf()
    work.send(None)
    work.close()
    assert log == ["closed"]
    work.close()
    assert log == ["closed"]


async def test_close_through_an_outer_coroutine() -> None:
    """Closing the caller closes the effect that it waits in, and the leaf's `finally` runs at once."""
    log: list[str] = []

    @effect(Timeout(LONG), Retry(on=Boom))
    async def leaf() -> None:
        try:
            await forever()
        finally:
            log.append("leaf")

    async def caller() -> None:
        try:
            await leaf()
        finally:
            log.append("caller")

    outer = caller()
    outer.send(None)
    outer.close()
    assert log == ["leaf", "caller"]


async def test_close_of_what_waits_between_attempts() -> None:
    """It is over at once, as a cancelled call, and makes no other attempt."""
    attempts = 0

    @effect(Retry(on=Boom, backoff=constant(SOON)), name="closed between attempts")
    async def fails() -> None:
        nonlocal attempts
        attempts += 1
        raise Boom

    async def caller() -> None:
        await fails()

    def now() -> tuple[int, int]:
        """How many calls are under way, and how many of this name were cancelled."""
        of_all, of_it = statistics(), effect_statistics()["closed between attempts"]
        return of_all["running"] + of_all["waiting"], of_it[4]

    under_way, cancelled = now()
    outer = caller()
    outer.send(None)
    assert now() == (under_way + 1, cancelled)
    outer.close()
    assert now() == (under_way, cancelled + 1)
    await asyncio.sleep(2 * SOON)  # until after the next attempt's time
    assert attempts == 1


async def test_close_of_what_waits_for_native_work(complaints: list[str]) -> None:
    """The cleanup around it runs at once, and the loop hears nothing of it."""
    log: list[str] = []

    async def caller() -> None:
        try:
            await sleep(LONG)
            log.append("slept")
        finally:
            log.append("cleanup")

    outer = caller()
    outer.send(None)
    outer.close()
    assert log == ["cleanup"]
    del outer
    collect()
    await ticks()
    assert log == ["cleanup"]
    assert complaints == []


async def test_close_of_a_leaf_that_will_not_end_is_told_as_pythons() -> None:
    @effect(Timeout(LONG))
    async def leaf() -> None:
        try:
            await forever()
        except GeneratorExit:
            await asyncio.sleep(0)

    work = leaf()
    work.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        work.close()


def test_what_was_never_awaited_warns() -> None:
    for make in (effect(Retry(on=Boom))(value), lambda: noop(1)):
        work = make()
        with pytest.warns(RuntimeWarning, match=r"effect '.*' was never awaited"):
            del work


async def test_no_warning_for_what_was_used() -> None:
    make = effect(value)
    del_me: list[Effect[Any]] = []
    closed = make(1)
    closed.close()
    del_me.append(closed)
    for composed in (make(1).map(str), make(1).then(make), make(1).attempt(Boom), make(1).under(Timeout(1))):
        assert await composed is not None
    work = make(1)
    await work
    del_me.clear()
    del closed, work, composed
    collect()


async def test_no_warning_for_what_was_cancelled_before_its_first_step(complaints: list[str]) -> None:
    """As asyncio does for a coroutine that it had made a task of."""
    make = effect(value)
    async with Runtime() as runtime:
        runtime.submit(make(1)).cancel()
    async with amap(make, range(5), limit=3) as results:
        await anext(results)  # which makes room for one more, that leaving cancels
    collect()
    assert complaints == []


async def test_a_composed_effect_that_is_dropped_warns_once() -> None:
    with pytest.warns(RuntimeWarning) as warned:
        effect(value)(1).map(str).map(int)  # type: ignore[unused-awaitable]
    assert len(warned) == 1


async def test_debuggers_see_the_way_down() -> None:
    gate = asyncio.Event()

    @effect(Timeout(LONG))
    async def leaf() -> None:
        await gate.wait()

    work = leaf()
    assert work.__name__ == work.__qualname__
    assert work.__name__.endswith("leaf")
    assert work.cr_await is None
    assert work.cr_frame is None
    assert not work.cr_running
    task = asyncio.create_task(work)
    await ticks()
    run = work.cr_await
    assert run.cr_await.cr_frame.f_code.co_name == "leaf"
    assert work.cr_frame.f_code.co_name == "leaf"
    assert work.cr_code.co_name == "leaf"
    assert run.__name__ == work.__name__
    assert "leaf" in repr(run)
    assert repr(task)
    stack = io.StringIO()
    task.print_stack(file=stack)
    assert "Stack for" in stack.getvalue()
    gate.set()
    await task
    assert work.cr_await is None
