"""A cancelled scope of anyio asks again in each turn of the loop: it is one request, and the wait for cleanup idle."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from mountain_runtime import (
    Cache,
    Runtime,
    Shutdown,
    Timeout,
    amap,
    chunked,
    effect,
    gather,
    process,
    race,
    sidecar,
)

from .level import TURNS, Work, selects
from .support import LONG, SOON, forever


async def in_gather(work: Work) -> None:
    await gather([effect(work)(), effect(work)()])


async def in_race(work: Work) -> None:
    await race(effect(work)(), effect(work)())


async def in_amap(work: Work) -> None:
    async with amap(work, range(2), limit=2) as results:
        async for _ in results:
            pass


async def in_amaps_source(work: Work) -> None:
    async def source() -> AsyncIterator[int]:
        await work()
        yield 1

    async with amap(work, source(), limit=2) as results:
        async for _ in results:
            pass


async def in_the_source_of_lists(work: Work) -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        await work()

    async with chunked(source(), 2, within=LONG) as lists:
        async for _ in lists:
            pass


async def in_a_runtime(work: Work) -> None:
    async with Runtime() as rt:
        rt.submit(effect(work)())
        await forever()


async def in_a_runtime_that_drains(work: Work) -> None:
    async with Runtime() as rt:
        rt.submit(effect(work)())
        await asyncio.sleep(0)


async def in_submitted_work(work: Work) -> None:
    async with Runtime() as rt:
        await rt.submit(effect(work)())


async def in_submitted_work_under_a_policy(work: Work) -> None:
    async with Runtime() as rt:

        async def waits() -> None:
            await rt.submit(effect(work)())

        await effect(Timeout(LONG))(waits)()


async def in_a_flight(work: Work) -> None:
    await effect(Cache(ttl=LONG))(work)()


CASES = [
    in_gather,
    in_race,
    in_amap,
    in_amaps_source,
    in_the_source_of_lists,
    in_a_runtime,
    in_a_runtime_that_drains,
    in_submitted_work,
    in_submitted_work_under_a_policy,
    in_a_flight,
]


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("scoped", CASES)
async def test_waiting_for_cleanup_is_idle(
    scoped: Callable[[Work], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work()
    asked = selects(asyncio.get_running_loop(), monkeypatch)
    with anyio.move_on_after(SOON) as scope:
        await scoped(work)
    assert scope.cancelled_caught
    assert work.begun == work.cleaned > 0
    assert len(asked) < TURNS
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("scoped", CASES)
async def test_the_cleanup_is_whole(scoped: Callable[[Work], Awaitable[None]]) -> None:
    work = Work()
    with anyio.CancelScope() as scope:
        work.at_begin = scope.cancel
        await scoped(work)
    assert work.begun == work.cleaned > 0


async def test_a_timeout_is_no_scope() -> None:
    """While its cleanup goes on, a scope that is cancelled then wins, as any cancel from outside."""
    scope = anyio.CancelScope()
    work = Work(scope)
    async with Runtime() as rt:

        async def waits() -> None:
            await rt.submit(effect(work)())

        with scope:
            await effect(Timeout(SOON))(waits)()
    assert scope.cancelled_caught


async def test_a_scope_inside_another_goes_on() -> None:
    work = Work()
    async with Runtime() as rt:
        with anyio.CancelScope() as outer:
            with anyio.move_on_after(SOON) as inner:
                await rt.submit(effect(work)())
            assert inner.cancelled_caught
            await anyio.sleep(0)
            outer.cancel()
            await anyio.sleep(LONG)
    assert outer.cancelled_caught
    assert work.cleaned == 1


async def test_a_failure_while_a_scope_is_cancelled() -> None:
    """The wait for the others had begun before the scope was cancelled."""
    scope = anyio.CancelScope()
    work = Work(scope)

    async def fails() -> None:
        await asyncio.sleep(SOON)
        raise ValueError

    with scope:
        await gather([effect(work)(), effect(fails)()])
    assert scope.cancelled_caught
    assert work.cleaned == 1


async def test_a_runtime_in_a_cancelled_scope_is_not_aborted() -> None:
    work = Work()
    runtime = Runtime()
    with anyio.move_on_after(SOON):
        async with runtime as rt:
            rt.submit(effect(work)())
            await anyio.sleep(LONG)
    assert work.cleaned == 1
    assert runtime.report is not None
    assert runtime.report.ok


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_programs_are_stopped_politely_and_idly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Real programs, which take the time they take."""
    said = tmp_path / "said"

    async def stop(program: process.Process) -> None:
        program.signal(signal.SIGUSR1)
        await program.wait()

    script = f"trap 'sleep 0.05; echo bye > {said}; exit 0' USR1; echo up; while :; do sleep 0.01; done"
    with anyio.move_on_after(LONG) as scope:
        async with sidecar("sh", "-c", script, ready=lambda _: True, stop=stop, grace=5)() as running:
            asked = selects(asyncio.get_running_loop(), monkeypatch)
            scope.cancel()
            await anyio.sleep(LONG)
    assert scope.cancelled_caught
    assert said.read_text() == "bye\n"
    assert running.pid
    assert len(asked) < TURNS


async def test_a_second_cancel_that_is_another_one_still_aborts() -> None:
    runtime = Runtime(shutdown=Shutdown(deadline=LONG))
    cleaning = asyncio.Event()

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            cleaning.set()
            await asyncio.sleep(LONG)

    async def program() -> None:
        with anyio.move_on_after(SOON):
            async with runtime as rt:
                rt.submit(effect(stubborn)())
                await forever()

    loop = asyncio.get_running_loop()
    begun = loop.time()
    task = asyncio.create_task(program())
    await cleaning.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(SOON)  # each is one of its own
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - begun < 5
