"""Native effects under a limit: they wait, are refused and are cancelled as others are, without a step of Python's."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Priority, Retry, Runtime, Timeout, _native, fs, gather, priority, race
from mountain_runtime.errors import QueueFull, TimedOut

from .room import counts, taken, tick, until
from .support import AT_ONCE, LONG, SOON, Watch

LOW, NORMAL, HIGH = Priority


async def idle(limit: ConcurrencyLimit) -> None:
    """All have ended, on whatever thread they did."""
    await until(lambda: counts(limit) == (0, 0))


async def test_so_many_at_a_time(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(b"x" * 1000)
    limit, other = ConcurrencyLimit(3), ConcurrencyLimit(1)
    work = [fs.read_bytes(file).under(limit, Retry(on=OSError)) for _ in range(50)]
    assert all(map(_native.is_native, work))
    assert await gather(work) == [b"x" * 1000] * 50
    naps = gather([_native.trial_sleep(SOON).under(other) for _ in range(3)])
    assert _native.is_native(naps)
    with Watch() as watch:
        await naps
    assert watch.took >= 3 * SOON  # one after the other
    await idle(limit)
    await idle(other)


async def test_it_is_the_same_limit_for_both_kinds() -> None:
    limit = ConcurrencyLimit(1)
    async with taken(limit):
        work = asyncio.create_task(_native.trial_noop(1).under(limit))
        await until(lambda: counts(limit) == (1, 1))
        assert not work.done()
    assert await work == 1
    await idle(limit)


async def test_calls_queue_in_the_order_in_which_they_begin(tmp_path: Path) -> None:
    """Though they are begun by workers: seen by what each leaves behind in a file's place."""
    limit = ConcurrencyLimit(1, max_waiting=None)
    async with taken(limit):
        tasks = [asyncio.ensure_future(fs.mkdir(tmp_path / str(n)).under(limit)) for n in range(300)]
        await until(lambda: counts(limit) == (1, 300))
    await asyncio.gather(*tasks)
    born = [(tmp_path / str(n)).stat().st_ctime_ns for n in range(300)]
    assert born == sorted(born)


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "gathered"])
async def test_priority_reaches_them(together: bool) -> None:
    limit = ConcurrencyLimit(1)
    tasks: list[asyncio.Future[Any]] = []
    async with taken(limit):
        for p in Priority:
            with priority(p):
                work = [_native.trial_noop(1).under(limit) for _ in range(2 + p)]
                tasks += map(asyncio.ensure_future, [gather(work)] if together else work)
        await until(lambda: counts(limit) == (1, 9))
        assert limit.statistics().waiting == {LOW: 2, NORMAL: 3, HIGH: 4}
    await asyncio.gather(*tasks)
    await idle(limit)


async def test_who_is_refused_is_told_as_elsewhere() -> None:
    limit = ConcurrencyLimit(1, max_waiting=1, name="native")
    async with taken(limit):
        waiter = asyncio.create_task(_native.trial_noop(1).under(limit))
        await until(lambda: counts(limit) == (1, 1))
        for work in (
            _native.trial_noop(2).under(limit),
            gather([_native.trial_noop(2).under(limit), _native.trial_sleep(LONG)]),
        ):
            with pytest.raises(QueueFull) as refused:
                await work
            assert (refused.value.effect, refused.value.attempt) == ("noop", 1)
            assert refused.value.policy == repr(limit)
            assert "1 waiting" in str(refused.value)
        with pytest.raises(ExceptionGroup) as all_refused:
            await race(_native.trial_noop(1).under(limit), _native.trial_noop(1).under(limit))
        assert [type(e) for e in all_refused.value.exceptions] == [QueueFull, QueueFull]
    assert await waiter == 1
    await idle(limit)


async def test_shed_sends_a_native_waiter_away() -> None:
    limit = ConcurrencyLimit(1, max_waiting=1, overflow="shed")
    async with taken(limit):
        with priority(LOW):
            low = asyncio.create_task(_native.trial_noop(1).under(limit))
        await until(lambda: counts(limit) == (1, 1))
        high = asyncio.create_task(_native.trial_noop(2).under(limit))
        with pytest.raises(QueueFull):
            await low
    assert await high == 2
    await idle(limit)


async def test_time_covers_the_waiting() -> None:
    limit = ConcurrencyLimit(1)
    async with taken(limit):
        with Watch() as watch, pytest.raises(TimedOut) as late:
            await _native.trial_noop(1).under(Timeout(SOON), limit)
        assert SOON <= watch.took < AT_ONCE
        assert late.value.policy == f"Timeout({SOON})"
        assert "not started" in str(late.value)
        assert counts(limit) == (1, 0)
    await idle(limit)


async def test_a_timed_out_call_gives_its_place_back() -> None:
    limit = ConcurrencyLimit(1)
    for _ in range(3):
        with pytest.raises(TimedOut):
            await _native.trial_sleep(LONG).under(limit, Timeout(SOON))
    with pytest.raises(TimedOut):
        await _native.trial_sleep(LONG).under(Timeout(SOON), limit)
    await idle(limit)


async def test_cancelled_at_any_moment_they_give_it_back() -> None:
    """T2, for native calls: waiting, granted, at work or done."""
    limit = ConcurrencyLimit(1)
    for n in range(1000):
        tasks = [asyncio.ensure_future(_native.trial_noop(1).under(limit)) for _ in range(3)]
        for _ in range(n % 5):
            await asyncio.sleep(0)
        for task in tasks[n % 3 :]:
            task.cancel()
        await asyncio.wait(tasks)
    await idle(limit)
    assert await _native.trial_noop(1).under(limit) == 1


async def test_submitted_ones_wait_too_and_go_on_without_their_handles() -> None:
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime:
        async with taken(limit):
            kept = runtime.submit(_native.trial_noop(3).under(limit))
            runtime.submit(_native.trial_noop(4).under(limit))
            await until(lambda: counts(limit) == (1, 2))
        assert await kept == 3
    assert counts(limit) == (0, 0)


async def test_a_submitted_one_that_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    limit = ConcurrencyLimit(1)
    async with Runtime() as runtime:
        async with taken(limit):
            handles = [runtime.submit(_native.trial_noop(n).under(limit)) for n in range(3)]
            await until(lambda: counts(limit) == (1, 3))
            handles[1].cancel()
            await asyncio.wait([handles[1]])
            assert counts(limit) == (1, 2)
        assert await asyncio.gather(handles[0], handles[2]) == [0, 2]
        await tick()
    assert counts(limit) == (0, 0)
