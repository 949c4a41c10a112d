"""Native work, and handles that several await, in a cancelled scope of anyio: one request, and an idle wait."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Effect,
    Policy,
    Retry,
    Runtime,
    Timeout,
    effect,
    fs,
    gather,
    process,
    race,
)
from tests.policy.room import cancelled

from .level import CLEANUP, TURNS, Work, selects
from .support import LONG, SOON, forever

#: Ignores SIGTERM, and ends by itself much later than the test.
STUBBORN = ("sh", "-c", f"trap '' TERM; echo up; sleep {LONG}")
#: Takes a while to end, once it is asked to.
SLOW = ("sh", "-c", "trap 'sleep 0.2; exit 0' TERM; echo up; while :; do sleep 0.01; done")

POLICIES: dict[str, tuple[Policy, ...]] = {
    "bare": (),
    "timeout": (Timeout(LONG),),
    "retry": (Retry(on=LookupError),),
    "limit": (ConcurrencyLimit(1),),
}


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """Has a writer that writes nothing."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield path
    os.close(writer)


async def ends_idly(work: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds from the cancel of the scope around it to its end."""
    task = asyncio.current_task()
    assert task is not None
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await asyncio.sleep(SOON)
            asked.clear()
            scope.cancel()

        asked = selects(asyncio.get_running_loop(), monkeypatch)
        cancels = asyncio.create_task(cancel())
        begun = time.perf_counter() + SOON
        await work()
    took = time.perf_counter() - begun
    assert scope.cancelled_caught
    assert len(asked) < TURNS
    assert task.cancelling() == 0
    await cancels
    return took


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("policies", POLICIES)
async def test_a_program_ends_at_once(policies: str, monkeypatch: pytest.MonkeyPatch) -> None:
    took = await ends_idly(lambda: process.run(*STUBBORN).under(*POLICIES[policies]), monkeypatch)
    assert took < LONG / 2


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("together", [gather, lambda both: race(*both)], ids=["gather", "race"])
async def test_programs_side_by_side(
    together: Callable[..., Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    took = await ends_idly(lambda: together([process.run(*STUBBORN), process.run(*STUBBORN)]), monkeypatch)
    assert took < LONG / 2


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("waits", [process.Process.receive, process.Process.wait])
async def test_a_program_that_is_talked_to(
    waits: Callable[[process.Process], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talks() -> None:
        async with process.open(*STUBBORN) as program:
            assert await program.receive() == b"up"
            await waits(program)

    assert await ends_idly(talks, monkeypatch) < LONG / 2


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_program_that_ends_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is left, and the scope is cancelled while the program takes its time."""

    async def leaves() -> None:
        async with process.open(*SLOW) as program:
            assert await program.receive() == b"up"

    assert await ends_idly(leaves, monkeypatch) < LONG / 2


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("policies", POLICIES)
@pytest.mark.parametrize("reads", [fs.hash, fs.read_bytes])
async def test_a_read_is_let_go(
    reads: Callable[[Path], Effect[object]], policies: str, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        took = await ends_idly(lambda: reads(pipe).under(*POLICIES[policies]), monkeypatch)
    finally:
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.write(writer, b"x")  # a thread may be in the read
        os.close(writer)
    assert took < LONG / 2


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a place, and is never begun."""
    one = ConcurrencyLimit(1)
    holds = asyncio.create_task(effect(one)(forever)())
    await asyncio.sleep(0)
    await ends_idly(lambda: fs.write_text(tmp_path / "file", "text").under(one), monkeypatch)
    assert os.listdir(tmp_path) == []
    assert sum(one.statistics().waiting.values()) == 0
    await cancelled(holds)


# -- several wait for one handle -------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("waiters", [1, 2, 5])
async def test_tasks_that_await_one_handle(waiters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    async with Runtime() as rt:
        handle = rt.submit(effect(work)())

        async def waits() -> None:
            await handle

        async def wait() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(waiters):
                    group.start_soon(waits)

        took = await ends_idly(wait, monkeypatch)
        assert handle.cancelled()
    assert work.cleaned == 1
    assert took >= CLEANUP


@pytest.mark.parametrize("handles", [1, 2])
async def test_handles_in_a_gather_of_asyncios(handles: int) -> None:
    """It hands on each of the scope's cancels. They are one request, and the cleanup is whole."""
    work = Work()
    async with Runtime() as rt:
        with anyio.move_on_after(SOON) as scope:
            await asyncio.gather(*(rt.submit(effect(work)()) for _ in range(handles)))
        assert scope.cancelled_caught
        assert work.cleaned == handles


async def test_a_second_cancel_of_a_handle_is_another_request() -> None:
    """Also with the same message: only a scope repeats itself."""
    for message in (None, "stop"):
        work = Work()
        async with Runtime() as rt:
            handle = rt.submit(effect(work)())
            await asyncio.sleep(0)
            for _ in range(2):
                assert handle.cancel(message)
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await handle
        assert work.cleaned == 0


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_callback_beside_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    told: list[object] = []
    async with Runtime() as rt:
        handle = rt.submit(effect(work)())
        handle.add_done_callback(told.append)

        async def wait() -> None:
            await handle

        assert await ends_idly(wait, monkeypatch) >= CLEANUP
    assert work.cleaned == 1
    assert told == [handle]


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_one_in_the_scope_and_one_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves its own scope; the task outside of it is cancelled by the handle's end, and by nothing else."""
    work = Work()
    async with Runtime() as rt:
        handle = rt.submit(effect(work)())

        async def waits() -> int:
            try:
                await handle
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                await anyio.sleep(0.001)
                return task.cancelling()
            raise AssertionError

        async def wait() -> None:
            await handle

        outside = asyncio.create_task(waits())
        await asyncio.sleep(0)
        assert await ends_idly(wait, monkeypatch) >= CLEANUP
        assert await outside == 0
    assert work.cleaned == 1
