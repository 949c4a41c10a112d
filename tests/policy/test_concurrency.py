"""ConcurrencyLimit: so many at a time, first come, first served; who is refused when too many wait; resizing."""

import asyncio
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, LimitStatistics, Pipeline, Priority, Retry, Runtime, constant, effect
from mountain_runtime.errors import ConfigError, MountainError, QueueFull, Rejected

from .room import Room, cancelled, counts, task_at, tick
from .support import Boom


@pytest.mark.parametrize("n", [1, 2, 7])
async def test_so_many_at_a_time_and_in_their_order(n: int) -> None:
    room, limit = Room(), ConcurrencyLimit(n)
    enter = effect(limit)(room.passes)
    found = await asyncio.gather(*[enter(i, ticks=1 + i % 3) for i in range(100)])
    assert found == list(range(100))
    assert room.most == n
    assert room.came == list(range(100))
    assert counts(limit) == (0, 0)


async def test_an_object_is_shared_by_sharing_it() -> None:
    """Among functions, pipelines, effects that are put under it, and calls."""
    room, limit = Room(), ConcurrencyLimit(2)
    pipeline = Pipeline(limit, name="shared")
    ways = [
        effect(limit)(room.passes)(1),
        effect(pipeline)(room.passes)(2),
        effect(room.passes)(3).under(limit),
        limit.call(room.passes, 4),
        pipeline.call(room.passes, 5),
    ]
    assert await asyncio.gather(*ways) == [1, 2, 3, 4, 5]
    assert room.most == 2
    other = ConcurrencyLimit(2)
    assert limit != other  # state is not compared by what it is set to
    await asyncio.gather(*[each.call(room.passes) for each in (limit, limit, other, other)])
    assert room.most == 4


async def test_a_place_is_not_held_during_a_backoff() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    log: list[str] = []

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0.02)), limit)
    async def fails_first() -> None:
        log.append("attempt")
        if len(log) == 1:
            raise Boom

    async def other() -> None:
        await room.passes()
        log.append("other")

    await asyncio.gather(fails_first(), limit.call(other))
    assert log == ["attempt", "other", "attempt"]
    log.clear()
    await asyncio.gather(fails_first().under(outer := ConcurrencyLimit(1)), outer.call(other))
    assert log == ["attempt", "attempt", "other"]  # a limit outside the Retry holds its place


# -- who is refused -------------------------------------------------------------------------------------------------


async def test_who_comes_last_is_refused() -> None:
    room, limit = Room(), ConcurrencyLimit(1, max_waiting=2)

    @effect(limit, name="fetch")
    async def fetch(who: int) -> Any:
        return await room.stays(who)

    first = [asyncio.create_task(fetch(who)) for who in range(3)]
    await tick()
    assert counts(limit) == (1, 2)
    with pytest.raises(QueueFull) as refused:
        await fetch(3)
    error = refused.value
    assert isinstance(error, Rejected)
    assert isinstance(error, MountainError)
    assert (error.effect, error.policy, error.attempt) == ("fetch", "ConcurrencyLimit(1, max_waiting=2)", 1)
    for part in ("fetch", "2 waiting", "not started", "max_waiting"):  # and so what to do
        assert part in str(error)
    assert counts(limit) == (1, 2)
    room.doors.set()
    assert await asyncio.gather(*first) == [0, 1, 2]
    assert room.came == [0, 1, 2]
    assert counts(limit) == (0, 0)


async def test_a_retry_goes_on_from_a_refusal_only_if_it_is_named() -> None:
    room, limit = Room(), ConcurrencyLimit(1, max_waiting=0)
    holder = asyncio.create_task(limit.call(room.stays))
    await tick()
    with pytest.raises(QueueFull) as refused:
        await effect(Retry(on=Exception, attempts=5, backoff=constant(0)), limit)(room.passes)()
    assert refused.value.attempt == 1
    with pytest.raises(QueueFull) as refused:
        await effect(Retry(on=QueueFull, attempts=3, backoff=constant(0)), limit)(room.passes)()
    assert room.came == [None]
    opens = asyncio.get_running_loop().call_later(0.01, room.doors.set)
    await effect(Retry(on=Rejected, attempts=None, backoff=constant(0.005)), limit)(room.passes)()
    opens.cancel()
    await holder


@pytest.mark.parametrize(
    ("waiting", "comes", "refused"),
    [
        ([Priority.NORMAL, Priority.LOW, Priority.LOW], Priority.HIGH, 2),
        ([Priority.LOW, Priority.NORMAL, Priority.HIGH], Priority.HIGH, 0),
        ([Priority.LOW, Priority.NORMAL, Priority.HIGH], Priority.NORMAL, 0),
        ([Priority.LOW, Priority.NORMAL, Priority.HIGH], Priority.LOW, 3),
        ([Priority.NORMAL, Priority.NORMAL, Priority.HIGH], Priority.NORMAL, 3),
        ([Priority.HIGH, Priority.HIGH, Priority.HIGH], Priority.HIGH, 3),
        ([Priority.NORMAL, Priority.HIGH, Priority.NORMAL], Priority.HIGH, 2),
    ],
)
async def test_shed_sends_away_the_newest_of_the_lowest_priority(
    waiting: list[Priority], comes: Priority, refused: int
) -> None:
    """The newcomer is the newest of its own priority."""
    room, limit = Room(), ConcurrencyLimit(1, max_waiting=3, overflow="shed")
    enter = effect(limit, name="enter")(room.stays)
    holder = asyncio.create_task(enter("holder"))
    await tick()
    tasks = [task_at(p, lambda who=who: enter(who)) for who, p in enumerate([*waiting, comes])]
    await tick(5)
    assert [who for who, task in enumerate(tasks) if task.done()] == [refused]
    error = tasks[refused].exception()
    assert isinstance(error, QueueFull)
    assert (error.effect, error.attempt) == ("enter", 1)
    assert error.policy == "ConcurrencyLimit(1, max_waiting=3, overflow='shed')"
    assert counts(limit) == (1, 3)
    room.doors.set()
    await asyncio.wait([holder, *tasks])
    assert sorted(room.came[1:]) == [who for who in range(4) if who != refused]
    assert counts(limit) == (0, 0)


async def test_a_thousand_may_wait_unless_it_is_said_otherwise() -> None:
    room = Room()
    for limit, refused in [(ConcurrencyLimit(1), 100), (ConcurrencyLimit(1, max_waiting=None), 0)]:
        room.doors.clear()
        tasks = [asyncio.create_task(limit.call(room.stays)) for _ in range(1101)]
        await tick()
        assert counts(limit) == (1, 1100 - refused)
        room.doors.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found].count(QueueFull) == refused


# -- resizing (L12) -------------------------------------------------------------------------------------------------


async def test_more_places_are_taken_at_once() -> None:
    room, limit = Room(), ConcurrencyLimit(1)
    tasks = [asyncio.create_task(limit.call(room.stays, who)) for who in range(6)]
    await tick()
    assert room.came == [0]
    limit.resize(4)
    await tick()
    assert room.came == [0, 1, 2, 3]
    assert repr(limit) == "ConcurrencyLimit(4)"
    room.doors.set()
    await asyncio.gather(*tasks)


async def test_fewer_places_come_into_force_as_calls_end() -> None:
    limit, rooms = ConcurrencyLimit(4), [Room() for _ in range(8)]
    tasks = [asyncio.create_task(limit.call(room.stays)) for room in rooms]
    await tick()
    assert counts(limit) == (4, 4)
    limit.resize(2)
    assert counts(limit) == (4, 4)  # no call is thrown out
    for ended in range(2):
        rooms[ended].doors.set()
        await tick()
        assert counts(limit) == (3 - ended, 4)  # and no call comes in
    for ended in range(2, 8):
        rooms[ended].doors.set()
        await tick()
        assert counts(limit) == (min(2, 7 - ended), max(0, 5 - ended))
    await asyncio.gather(*tasks)


async def test_resizing_again_and_again_loses_no_place() -> None:
    room, limit = Room(), ConcurrencyLimit(3, max_waiting=None)
    tasks = [asyncio.create_task(limit.call(room.passes, n, ticks=n % 4)) for n in range(500)]
    for n in range(200):
        limit.resize(1 + n % 5)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert room.came == list(range(500))
    assert room.most <= 5
    assert counts(limit) == (0, 0)
    room.most = 0
    limit.resize(2)
    await asyncio.gather(*[limit.call(room.passes) for _ in range(20)])
    assert room.most == 2


# -- what is seen ---------------------------------------------------------------------------------------------------


async def test_statistics_say_who_waits() -> None:
    room, limit = Room(), ConcurrencyLimit(2, name="test-statistics")
    assert limit.statistics() == LimitStatistics(0, dict.fromkeys(Priority, 0))
    wanted = [Priority.NORMAL, Priority.LOW, Priority.HIGH, Priority.LOW, Priority.LOW]
    tasks = [task_at(p, lambda: limit.call(room.stays)) for p in wanted]
    await tick()
    now = limit.statistics()
    assert (now.in_flight, now.waiting) == (2, {Priority.LOW: 2, Priority.NORMAL: 0, Priority.HIGH: 1})
    async with Runtime() as runtime:
        assert runtime.statistics().limits["test-statistics"] == now
    await cancelled(tasks[2])
    assert limit.statistics().waiting[Priority.HIGH] == 0
    room.doors.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limit.statistics() == LimitStatistics(0, dict.fromkeys(Priority, 0))


async def test_statistics_by_name_hold_the_named_and_add_up_those_of_one_name() -> None:
    room = Room()
    one, two = ConcurrencyLimit(1, name="test-twice"), ConcurrencyLimit(1, name="test-twice")
    unnamed = ConcurrencyLimit(1)
    tasks = [asyncio.create_task(limit.call(room.stays)) for limit in (one, one, two, unnamed)]
    await tick()
    async with Runtime() as runtime:
        limits = runtime.statistics().limits
        assert "" not in limits
        assert (limits["test-twice"].in_flight, limits["test-twice"].waiting[Priority.NORMAL]) == (2, 1)
        room.doors.set()
        await asyncio.gather(*tasks)
        del one, two, limits, tasks
    async with Runtime() as runtime:
        assert "test-twice" not in runtime.statistics().limits  # nothing of ours keeps a limit alive


def test_a_limit_reads_as_it_is_written() -> None:
    def repo(name: str) -> str:
        return name

    limit = ConcurrencyLimit(5, key=repo, max_waiting=None, overflow="shed", name="git")
    for part in ("ConcurrencyLimit(5", "repo", "max_waiting=None", "overflow='shed'", "name='git'"):
        assert part in repr(limit)


def test_one_limit_twice_in_a_stack_is_refused() -> None:
    limit = ConcurrencyLimit(3, name="twice")
    once = effect(limit)(asyncio.sleep)(0)
    for build in (
        lambda: effect(limit, Retry(on=Boom), limit)(asyncio.sleep),
        lambda: Pipeline(limit, limit, name="p"),
        lambda: effect(Pipeline(limit, name="p"), limit)(asyncio.sleep),
        lambda: once.under(limit),
    ):
        with pytest.raises(ConfigError, match=r"ConcurrencyLimit\(3, name='twice'\) stands twice"):
            build()
    once.close()
