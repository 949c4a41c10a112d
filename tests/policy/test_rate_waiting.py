"""RateLimit: the order of those who wait, whose turn would come too late, and turns that are given on."""

import asyncio
import time
from typing import Any

import pytest

from mountain_runtime import (
    ConcurrencyLimit,
    Priority,
    RateLimit,
    Timeout,
    _native,
    blocking,
    constant,
    deadline,
    effect,
    priority,
)
from mountain_runtime.errors import RateLimited
from mountain_runtime.policy.retry import Retry
from mountain_runtime.testing import VirtualClock

from .starts import HELD_UP, Starts, most_within
from .support import AT_ONCE, LONG, SOON, Boom, Watch, outcome

PER = 0.2
virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


@virtual
async def test_turns_come_in_order_and_to_the_nanosecond(virtual_clock: VirtualClock) -> None:
    """Three at once, and the next three when the first leave."""
    limit = RateLimit(3, per=7)
    came: list[tuple[int, float]] = []

    async def call(n: int) -> None:
        await limit.acquire()
        came.append((n, virtual_clock.time()))

    await asyncio.gather(*[call(n) for n in range(10)])
    assert came == [(n, n // 3 * 7.0) for n in range(10)]


@virtual
@pytest.mark.parametrize("burst", [None, 3], ids=["strict", "bucket"])
async def test_turns_go_by_priority(burst: int | None, virtual_clock: VirtualClock) -> None:
    """Effects and `acquire` alike; those who found room have gone."""
    limit = RateLimit(3, per=9, burst=burst)
    came: list[tuple[int, float]] = []

    @effect(limit)
    async def turn() -> None: ...

    async def call(n: int) -> None:
        with priority(Priority.HIGH if n % 2 else Priority.LOW):
            await (turn() if n % 3 else limit.acquire())
        came.append((n, virtual_clock.time()))

    await asyncio.gather(*[call(n) for n in range(10)])
    assert [n for n, _ in came] == [0, 1, 2, 3, 5, 7, 9, 4, 6, 8]
    times = [0.0, 9.0, 9.0, 9.0, 18.0, 18.0, 18.0, 27.0] if burst is None else [0.0, *[3.0 * k for k in range(1, 8)]]
    assert [at for _, at in came[2:]] == times


@virtual
async def test_a_low_one_is_not_passed_over_for_ever(virtual_clock: VirtualClock) -> None:
    limit = RateLimit(1, per=1)
    await limit.acquire()

    async def low() -> float:
        with priority(Priority.LOW):
            await limit.acquire()
        return virtual_clock.time()

    async def high() -> None:
        with priority(Priority.HIGH):
            await limit.acquire()

    first, *_ = await asyncio.gather(low(), *[high() for _ in range(40)])
    assert first == 17.0


@virtual
async def test_a_large_cost_is_not_overtaken_by_small_ones(virtual_clock: VirtualClock) -> None:
    limit = RateLimit(10, per=10)
    came: list[tuple[int, float]] = []

    async def call(cost: int) -> None:
        await limit.acquire(cost=cost)
        came.append((cost, virtual_clock.time()))

    await asyncio.gather(*[call(cost) for cost in (6, 8, 1, 2)])
    # One more has room beside the eight, two have not.
    assert came == [(6, 0.0), (8, 10.0), (1, 10.0), (2, 20.0)]


@virtual
async def test_an_hour_of_a_slow_rate(virtual_clock: VirtualClock) -> None:
    call = effect(RateLimit(1, per=1))(asyncio.sleep)
    await asyncio.gather(*[call(0) for _ in range(3601)])
    assert virtual_clock.time() == 3600.0
    call = effect(RateLimit(1, per=10, burst=60))(asyncio.sleep)
    await asyncio.gather(*[call(0) for _ in range(420)])
    assert virtual_clock.time() == 3600.0 + 360 * 10


# -- too late ------------------------------------------------------------------------------------------------


async def test_who_would_be_too_late_is_refused_at_once() -> None:
    """By a Timeout outside, by a deadline, by a Timeout around the effect that calls: not by a Timeout inside."""
    starts = Starts()
    limit = RateLimit(1, per=LONG)
    call = effect(limit)(starts)
    await limit.acquire()

    @effect(Timeout(LONG / 2))
    async def outer() -> None:
        await call()

    async def in_deadline() -> None:
        async with deadline(LONG / 2):
            await call()

    for late in (call().under(Timeout(LONG / 2)), outer(), in_deadline(), call().under(Retry(on=Boom), Timeout(1))):
        with Watch() as watch, pytest.raises(RateLimited) as refused:
            await late
        assert watch.took < AT_ONCE
        assert LONG - AT_ONCE < refused.value.retry_after <= LONG
    assert not starts
    assert limit._rates.waiting == 0


async def test_a_time_limit_inside_begins_with_the_turn() -> None:
    """The wait is none of its time, also where another limit around has begun before."""
    limit = RateLimit(1, per=PER)

    @effect(Timeout(LONG), limit, Timeout(PER / 2))
    async def call() -> str:
        await asyncio.sleep(PER / 20)
        return "in time"

    assert await asyncio.gather(*[call() for _ in range(3)]) == ["in time"] * 3


async def test_whose_time_is_up_while_he_waits_is_timed_out_only_if_his_turn_grew() -> None:
    limit = RateLimit(1, per=PER)
    await limit.acquire()
    waiting = asyncio.ensure_future(limit.acquire().under(Timeout(PER * 2)))
    await asyncio.sleep(0)
    limit.pause(LONG)
    with Watch() as watch:
        found = await outcome(waiting)
    assert isinstance(found, TimeoutError)
    assert watch.took < PER * 2 + AT_ONCE
    assert limit._rates.waiting == 0


# -- turns that are given on ---------------------------------------------------------------------------------


@virtual
async def test_who_gives_up_leaves_no_gap(virtual_clock: VirtualClock) -> None:
    limit = RateLimit(1, per=10)
    await limit.acquire()
    came: list[tuple[int, float]] = []

    async def call(n: int) -> None:
        await limit.acquire()
        came.append((n, virtual_clock.time()))

    tasks = [asyncio.create_task(call(n)) for n in range(5)]
    await asyncio.sleep(1)
    for n in (0, 2):
        tasks[n].cancel()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, True, False, False]
    assert came == [(1, 10.0), (3, 20.0), (4, 30.0)]


async def test_a_turn_that_came_and_is_not_taken_is_the_next_ones() -> None:
    """Cancelled in the very tick in which its turn has come: it is given back, and taken by who waits behind."""
    limit = RateLimit(1, per=SOON)
    for _ in range(20):
        await limit.acquire()
        first, second = (asyncio.ensure_future(limit.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        time.sleep(SOON * 1.5)  # the loop stands still while the turn comes
        first.cancel()
        with Watch() as watch:
            await second
        assert first.cancelled()
        assert watch.took < AT_ONCE
    assert limit._rates.waiting == 0


async def test_cancels_at_the_moment_of_the_turn_lose_nothing() -> None:
    """T1 and T2: of an accepted cancel nothing else becomes, and the rate is as if those had never asked."""
    per = 0.004
    limit = RateLimit(1, per=per)
    starts = Starts()
    call = effect(Timeout(LONG), limit)(starts)
    loop = asyncio.get_running_loop()
    cancelled = 0
    for round_ in range(60):
        await limit.acquire()
        tasks = [asyncio.create_task(call()) for _ in range(3)]
        accepted: list[bool] = []
        loop.call_later(per * (0.3 + round_ % 10 / 10), lambda t=tasks[0], a=accepted: a.append(t.cancel()))
        await asyncio.wait(tasks)
        while not accepted:
            await asyncio.sleep(0)
        assert tasks[0].cancelled() == accepted[0]
        cancelled += accepted[0]
        assert all(task.result() == 1 for task in tasks[1:])
    assert cancelled
    assert len(starts) == 180 - cancelled
    assert limit._rates.waiting == 0


async def test_a_timeout_at_the_moment_of_the_turn_is_one_or_the_other() -> None:
    others = _native.statistics()["timers"]
    per = 0.005
    limit = RateLimit(1, per=per)
    call = effect(limit)(Starts())
    for round_ in range(50):
        await limit.acquire()
        found = await asyncio.gather(
            *[outcome(call().under(Timeout(per * (0.9 + round_ % 10 / 50)))) for _ in range(3)], call()
        )
        assert found[-1] == 1
        assert all(each == 1 or isinstance(each, (RateLimited, TimeoutError)) for each in found)
    assert limit._rates.waiting == 0
    assert _native.statistics()["timers"] <= others


# -- in a stack ----------------------------------------------------------------------------------------------


@virtual
async def test_several_limits_all_hold(virtual_clock: VirtualClock) -> None:
    """Two a second, and ten in a minute."""
    a_second, a_minute = RateLimit(2, per=1), RateLimit(10, per=60)
    starts: list[float] = []

    @effect(a_minute, a_second)
    async def call() -> None:
        starts.append(virtual_clock.time())

    await asyncio.gather(*[call() for _ in range(25)])
    assert all(later - earlier >= 1 for earlier, later in zip(starts, starts[2:], strict=False))
    assert starts == sorted(starts)
    # Turns of the outer limit come in tens, and spread out at the inner one: of a minute's ten, the last start at 4.
    assert starts == [n // 10 * 60.0 + n % 10 // 2 for n in range(25)]


async def test_inside_a_concurrency_limit_it_holds_and_outside_starts_bunch_up() -> None:
    """Why the documentation says where to put it."""

    async def run(*policies: Any) -> int:
        starts = Starts()

        @effect(*policies)
        async def call() -> None:
            await starts()
            if len(starts) == 1:
                await asyncio.sleep(PER * 4)  # the others have had their turns before it ends

        await asyncio.gather(*[call() for _ in range(4)])
        return most_within(starts, PER)

    assert await run(ConcurrencyLimit(1), RateLimit(1, per=PER)) == 1
    assert await run(RateLimit(1, per=PER), ConcurrencyLimit(1)) == 3


async def test_threads_take_turns_too() -> None:
    starts: list[float] = []
    call = blocking(RateLimit(2, per=PER))(lambda: starts.append(time.monotonic()))
    await asyncio.gather(*[call() for _ in range(6)])
    assert len(starts) == 6
    # A thread's function begins when the thread is there: it may be late, and the next one not.
    assert most_within(starts, PER - HELD_UP) == 2


async def test_many_who_wait_cost_the_loop_nothing() -> None:
    """L12: there is one timer, and no polling for the time."""
    others = _native.statistics()["timers"]
    limit = RateLimit(1, per=LONG)
    await limit.acquire()
    waiting = [asyncio.create_task(outcome(limit.acquire())) for _ in range(10_000)]
    await asyncio.sleep(0)
    while limit._rates.waiting < 10_000:
        await asyncio.sleep(0)
    assert _native.statistics()["timers"] <= others + 1
    begun = time.process_time()
    await asyncio.sleep(0.5)  # in which nothing is to happen
    used = time.process_time() - begun
    assert used < 0.05, "a tenth of it; 2 percent is what the benchmarks hold it to"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert limit._rates.waiting == 0
    assert _native.statistics()["timers"] <= others


async def test_a_wait_between_attempts_takes_no_turn() -> None:
    limit = RateLimit(2, per=LONG, max_wait=0)

    async def fails() -> None:
        raise Boom

    waiting = asyncio.create_task(outcome(effect(Retry(on=Boom, attempts=2, backoff=constant(PER)), limit)(fails)()))
    await asyncio.sleep(PER / 4)
    await limit.acquire()  # while that one waits for its second attempt
    assert isinstance(await waiting, RateLimited)
