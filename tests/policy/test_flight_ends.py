"""The ends of flights whose last caller waits for them, and the events meanwhile."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Retry, Runtime, Timeout, constant, deadline, effect, gather, race
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .flying import awaited, start
from .support import LONG, Boom, outcome

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

CLEANUP = 2.0

Ends = Callable[[], int]


class Cleans:
    """A function that waits for ever; cancelled, it cleans up for two seconds, and then ends as it is told."""

    def __init__(self, ends: Ends | None = None) -> None:
        self.ends, self.events = ends, list[str]()

    async def __call__(self) -> int:
        self.events.append("begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.ends is None:
                raise
            return self.ends()
        finally:
            await asyncio.sleep(CLEANUP)
            self.events.append("cleaned up")
        raise AssertionError


def raises() -> int:
    raise Boom


# -- who leaves ----------------------------------------------------------------------------------------------


async def by_timeout(work: Any) -> None:
    await work.under(Timeout(1))


async def by_deadline(work: Any) -> None:
    async with deadline(1):
        await work


async def by_inherited_timeout(work: Any) -> None:
    await effect(Timeout(1))(awaited)(work)


async def by_asyncio_timeout(work: Any) -> None:
    async with asyncio.timeout(1):
        await work


async def by_cancel(work: Any) -> None:
    task = start(work)
    asyncio.get_running_loop().call_later(1, task.cancel, "enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task


async def by_gather(work: Any) -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise Boom

    await gather(work, effect(fails)())


async def by_race(work: Any) -> None:
    async def wins() -> None:
        await asyncio.sleep(1)

    await race(work, effect(wins)())


async def by_flight(work: Any) -> None:
    """The caller is the run of another cached call, which its own last caller leaves."""
    await effect(Timeout(1), Cache(ttl=LONG))(awaited)(work)


WAYS = [by_timeout, by_deadline, by_inherited_timeout, by_asyncio_timeout, by_cancel, by_gather, by_race, by_flight]


@pytest.mark.parametrize("leaves", WAYS)
async def test_the_last_one_leaves_when_it_has_been_cleaned_up(leaves: Any, virtual_clock: VirtualClock) -> None:
    runs, limit = Cleans(), ConcurrencyLimit(1, name="inside")
    get = effect(Cache(ttl=LONG, key=lambda: 1), limit)(runs)
    began = virtual_clock.time()
    found = await outcome(leaves(get()))
    assert not isinstance(found, AssertionError)
    assert runs.events == ["begins", "cleaned up"]
    assert virtual_clock.time() - began == pytest.approx(1 + CLEANUP, abs=0.2)
    assert limit.statistics().in_flight == 0


async def test_only_the_last_one_waits(virtual_clock: VirtualClock) -> None:
    runs = Cleans()
    get = effect(Cache(ttl=LONG))(runs)
    began = virtual_clock.time()
    took: list[float] = []

    async def leaves() -> None:
        assert isinstance(await outcome(get().under(Timeout(1))), TimedOut)
        took.append(virtual_clock.time() - began)

    await asyncio.gather(*[leaves() for _ in range(5)])
    assert took == pytest.approx([1, 1, 1, 1, 1 + CLEANUP], abs=0.2)


# -- what it ends with ---------------------------------------------------------------------------------------


async def test_a_value_that_comes_late_wins_over_a_timeout_and_is_kept(virtual_clock: VirtualClock) -> None:
    runs = Cleans(lambda: 5)
    get = effect(Timeout(1), Cache(ttl=LONG))(runs)
    assert await get() == 5
    assert await get() == 5
    assert runs.events == ["begins", "cleaned up"]


@pytest.mark.parametrize("ends", [None, lambda: 5, raises], ids=["cancelled", "a value", "an error"])
async def test_a_cancel_is_neither_swallowed_nor_retried(ends: Ends | None, virtual_clock: VirtualClock) -> None:
    runs = Cleans(ends)
    task = start(effect(Retry(on=Boom, attempts=3, backoff=constant(0)), Cache(ttl=LONG))(runs)())
    await asyncio.sleep(1)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert runs.events == ["begins", "cleaned up"]


@pytest.mark.parametrize("ends", [None, lambda: 5, raises], ids=["cancelled", "a value", "an error"])
async def test_a_cancel_that_comes_during_the_cleanup_wins(ends: Ends | None, virtual_clock: VirtualClock) -> None:
    runs = Cleans(ends)
    get = effect(Retry(on=(Boom, TimedOut), attempts=3, backoff=constant(0)), Timeout(1), Cache(ttl=LONG))(runs)
    task = start(get())
    await asyncio.sleep(2)
    task.cancel("enough")
    await asyncio.sleep(0)
    assert not task.done()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert runs.events == ["begins", "cleaned up"]
    assert task.cancelling() == 1


async def test_a_limit_that_passes_after_a_cancel_changes_nothing(virtual_clock: VirtualClock) -> None:
    runs = Cleans()
    get = effect(Retry(on=Boom, attempts=3, backoff=constant(0)), Timeout(2), Cache(ttl=LONG))(runs)
    task = start(get())
    await asyncio.sleep(1)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert runs.events == ["begins", "cleaned up"]


async def test_of_several_cancels_the_first_that_says_why_is_raised(virtual_clock: VirtualClock) -> None:
    """The time of a limit around the effect passes first: to the effect that is a cancel like another."""
    runs = Cleans()
    get = effect(Cache(ttl=LONG))(runs)
    task = start(effect(Timeout(1))(awaited)(get()))
    await asyncio.sleep(1.5)
    for message in ("enough", "again"):
        task.cancel(message)
        await asyncio.sleep(0.1)
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert runs.events == ["begins", "cleaned up"]


async def test_a_retry_outside_begins_another_when_the_last_has_been_cleaned_up(virtual_clock: VirtualClock) -> None:
    runs = Cleans()
    get = effect(Retry(on=Boom, attempts=2, backoff=constant(0)), Timeout(1), Cache(ttl=LONG))(runs)
    assert isinstance(await outcome(get()), TimedOut)
    assert runs.events == ["begins", "cleaned up"] * 2


# -- who comes meanwhile -------------------------------------------------------------------------------------


async def test_who_comes_meanwhile_begins_another_and_waits_for_its_place(virtual_clock: VirtualClock) -> None:
    runs, limit = Cleans(), ConcurrencyLimit(1)
    get = effect(Cache(ttl=LONG), limit)(runs)
    first = start(get())
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(0.5)
    second = start(get())
    await asyncio.sleep(0.5)
    assert runs.events == ["begins"]
    assert not first.done()
    await asyncio.wait([first])
    await asyncio.sleep(0)
    assert runs.events == ["begins", "cleaned up", "begins"]
    second.cancel()
    await asyncio.wait([second])
    assert limit.statistics().in_flight == 0


async def test_a_flight_may_need_its_own_key_as_it_cleans_up(virtual_clock: VirtualClock) -> None:
    """That is another flight, for the cleanup alone."""
    begun: list[int] = []

    @effect(Cache(ttl=LONG))
    async def get() -> int:
        begun.append(1)
        if len(begun) > 1:
            return 2
        try:
            await asyncio.Event().wait()
        finally:
            assert await get() == 2
        raise AssertionError

    assert isinstance(await outcome(get().under(Timeout(1))), TimedOut)
    assert await get() == 2


# -- what cancels in its own ways ----------------------------------------------------------------------------


async def test_a_shutdown_closes_services_when_the_flight_has_been_cleaned_up(virtual_clock: VirtualClock) -> None:
    runs = Cleans()
    get = effect(Cache(ttl=LONG))(runs)

    async def closes() -> None:
        runs.events.append("closed")

    with pytest.raises(Boom):
        async with Runtime() as runtime:
            runtime.defer(closes)
            handle = runtime.submit(get())
            await asyncio.sleep(1)
            assert not handle.done()
            raise Boom
    assert runs.events == ["begins", "cleaned up", "closed"]


async def test_a_scope_of_anyio_cancels_it_once_however_often_it_says_so() -> None:
    """Real time: anyio says it again in each pass of the loop."""
    cleaned: list[float] = []

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        began = time.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            cleaned.append(time.monotonic() - began)

    with anyio.move_on_after(0.01) as scope:
        await get()
    assert scope.cancelled_caught
    assert len(cleaned) == 1
    assert cleaned[0] >= 0.019
