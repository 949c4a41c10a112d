"""Priorities: who goes next where calls wait, how long a Low one waits at most, where `with priority(...)` reaches."""

import asyncio
import random
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Priority, Runtime, effect, gather, priority
from mountain_runtime.errors import ConfigError

from .room import Room, cancelled, taken, task_at, tick

LOW, NORMAL, HIGH = Priority
#: Calls that are let in before a Low one that is first of its kind, at the most; it starts with the next.
BOUND = 16


@pytest.mark.parametrize("n", [1, 3])
async def test_the_higher_go_first_and_equals_in_their_order(n: int) -> None:
    room, limit = Room(), ConcurrencyLimit(n)
    async with taken(limit, n):
        dice = random.Random(1)
        wanted = [dice.choice(list(Priority)) for _ in range(12)]  # too few for one to have waited long enough
        tasks = [task_at(p, lambda who=who: limit.call(room.passes, who)) for who, p in enumerate(wanted)]
        await tick()
    await asyncio.gather(*tasks)
    assert room.came == sorted(range(12), key=lambda who: (-wanted[who], who))


async def test_equals_keep_their_order_whatever_they_carry() -> None:
    """Q2: a thousand payloads that cannot be compared, of one priority."""
    room, limit = Room(), ConcurrencyLimit(1)
    payloads = [{"n": n} for n in range(1000)]
    for p in Priority:
        room.came.clear()
        await asyncio.gather(
            *[task_at(p, lambda payload=payload: limit.call(room.passes, payload)) for payload in payloads]
        )
        assert room.came == payloads


@pytest.mark.parametrize("n", [1, 4])
async def test_a_high_one_overtakes_thousands(n: int) -> None:
    """Q3: it is among the next `n` starts, with 5000 Low ones before it."""
    room, limit = Room(), ConcurrencyLimit(n, max_waiting=None)
    lows = [task_at(LOW, lambda: limit.call(room.passes, LOW)) for _ in range(5000)]
    for _ in range(20):  # it comes at any moment
        await tick(7)
        begun = len(room.came)
        assert 0 < begun < 4000
        await task_at(HIGH, lambda: limit.call(room.passes, HIGH, ticks=0))
        assert HIGH in room.came[begun : begun + n + 1]  # `n` places may be promised to others already
    await asyncio.gather(*lows)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("others", [[HIGH], [NORMAL], [HIGH, NORMAL]], ids=str)
async def test_a_low_one_starts_within_the_bound(others: list[Priority], n: int) -> None:
    """Q3: higher ones keep coming, for ever if need be; the k-th Low one starts within 17 * k starts."""
    limit = ConcurrencyLimit(n)
    async with taken(limit, n):
        started: list[Priority] = []

        async def keeps_coming(p: Priority) -> None:
            while started.count(LOW) < 4:
                await limit.call(comes, p)

        async def comes(p: Priority) -> None:
            started.append(p)
            await asyncio.sleep(0)

        lows = [task_at(LOW, lambda: limit.call(comes, LOW)) for _ in range(4)]
        flood = [task_at(p, lambda p=p: keeps_coming(p)) for p in others for _ in range(3 * n)]
        await tick()
    await asyncio.wait_for(asyncio.gather(*lows, *flood), 20)
    at = [start for start, p in enumerate(started) if p is LOW]
    assert len(at) == 4
    assert all(start < (BOUND + 1) * (k + 1) for k, start in enumerate(at)), at
    assert at[-1] > 12  # and not before their turn


async def test_the_shares_of_three_that_always_wait() -> None:
    limit = ConcurrencyLimit(1, max_waiting=None)
    started: list[Priority] = []

    async def comes(p: Priority) -> None:
        started.append(p)

    async with taken(limit):
        tasks = [task_at(p, lambda p=p: limit.call(comes, p)) for p in Priority for _ in range(400)]
        await tick()
    await asyncio.gather(*tasks)
    assert [started[:170].count(p) for p in Priority] == [10, 32, 128]


async def test_a_cancelled_one_leaves_no_gap() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    async with taken(limit):
        tasks = [task_at(p, lambda p=p: limit.call(room.passes, p)) for p in (LOW, HIGH, NORMAL, HIGH, LOW)]
        await tick()
        await cancelled(tasks[1])
        await cancelled(tasks[4])
        assert limit.statistics().waiting == {LOW: 1, NORMAL: 1, HIGH: 1}
    await asyncio.gather(*[task for task in tasks if not task.cancelled()])
    assert room.came == [HIGH, NORMAL, LOW]


# -- where it reaches -----------------------------------------------------------------------------------------------


async def test_it_goes_for_the_block_its_tasks_and_its_children() -> None:
    limit = ConcurrencyLimit(1)
    tasks: list[asyncio.Future[Any]] = []

    async def nothing() -> None: ...

    async with Runtime() as runtime, taken(limit):
        with priority(HIGH):
            with priority(LOW):
                tasks.append(asyncio.create_task(limit.call(nothing)))
            tasks.append(runtime.submit(limit.call(nothing)))
            tasks.append(asyncio.ensure_future(gather([limit.call(nothing), limit.call(nothing)])))
        tasks.append(asyncio.create_task(limit.call(nothing)))
        await tick(5)
        assert limit.statistics().waiting == {LOW: 1, NORMAL: 1, HIGH: 3}
    await asyncio.gather(*tasks)


async def test_it_is_asked_when_a_call_begins() -> None:
    """A value that was made elsewhere is as urgent as its awaiter; once it waits, it stays so."""
    limit = ConcurrencyLimit(1)
    async with taken(limit):
        made = limit.call(asyncio.sleep, 0)

        async def awaits() -> None:
            with priority(HIGH):
                await made

        task = asyncio.create_task(awaits())
        await tick()
        assert limit.statistics().waiting[HIGH] == 1
    await task


async def test_the_block_ends_where_it_ends() -> None:
    limit = ConcurrencyLimit(1)
    async with taken(limit):
        with pytest.raises(ZeroDivisionError), priority(HIGH):
            raise ZeroDivisionError
        task = asyncio.create_task(limit.call(asyncio.sleep, 0))
        await tick()
        assert limit.statistics().waiting[NORMAL] == 1
    await task


@pytest.mark.parametrize("wrong", [3, -1, 1.0, True, "HIGH", None])
def test_what_is_no_priority_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        priority(wrong)
    for part in ("priority", repr(wrong), "Priority.HIGH"):
        assert part in str(refused.value)


async def test_what_an_urgent_effect_awaits_is_as_urgent() -> None:
    limit = ConcurrencyLimit(1)
    async with taken(limit):

        @effect
        async def outer() -> None:
            await limit.call(asyncio.sleep, 0)

        task = task_at(LOW, outer)
        await tick()
        assert limit.statistics().waiting[LOW] == 1
    await task
