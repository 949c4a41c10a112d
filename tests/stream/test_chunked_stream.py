"""Lists are a stream: under policies, of another stream, and with pulls that are cancelled in between."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import ConcurrencyLimit, Idle, Retry, Runtime, Stream, Timeout, chunked, constant, stream
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .sources import Boom, Source, ticks

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])  # time can be virtual there only
LONG = 30
TIMES = pytest.mark.parametrize("within", [None, LONG], ids=["by size", "by size and time"])


async def every(seconds: float, n: int) -> AsyncIterator[int]:
    for number in range(n):
        await asyncio.sleep(seconds)
        yield number


async def cut(lists: AsyncIterator[list[int]], after: int = 1) -> None:
    """A pull that is cancelled after so many turns."""
    pull = asyncio.ensure_future(anext(lists))
    await ticks(after)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull


@TIMES
async def test_they_are_a_value(within: float | None) -> None:
    """Each block opens the source once more."""
    lists = chunked(Source(3, 1), 2, within=within)
    assert isinstance(lists, Stream)
    assert repr(lists).startswith("<Stream chunked(")
    for n, expected in ((3, [[0, 1], [2]]), (0, [])):  # the source has given all that it had
        async with lists as some:
            assert ([each async for each in some] == expected) is True, n
    assert [each async for each in chunked(Source(3, 1), 2, within=within)] == [[0, 1], [2]]


@TIMES
async def test_of_a_stream(within: float | None) -> None:
    closed: list[int] = []

    @stream(Timeout(LONG))
    async def numbers(n: int) -> AsyncIterator[int]:
        try:
            for number in range(n):
                await ticks(1)
                yield number
        finally:
            await ticks(1)
            closed.append(n)

    rows = chunked(numbers(5), 2, within=within)
    for _ in range(2):
        async with rows as lists:
            assert [some async for some in lists] == [[0, 1], [2, 3], [4]]
    assert closed == [5, 5]
    async with rows as lists:
        await anext(lists)
    assert closed == [5, 5, 5]


@virtual
@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("within", [None, 2.5])
async def test_a_timeout_bounds_all_lists(within: float | None) -> None:
    seen: list[list[int]] = []
    with pytest.raises(TimedOut, match=r"chunked.*Timeout\(10\)"):
        async with chunked(every(1, 100), 3, within=within).under(Timeout(10)) as lists:
            async for some in lists:
                seen.append(some)
    assert [number for some in seen for number in some] == list(range(9))


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_idle_is_the_wait_for_the_next_list() -> None:
    async with chunked(every(1, 7), 3).under(Idle(3.5)) as lists:
        async for _ in lists:
            await asyncio.sleep(20)  # the reader's own time does not count
    with pytest.raises(TimedOut, match=r"Idle\(2.5\)"):
        async with chunked(every(1, 7), 3).under(Idle(2.5)) as lists:
            await anext(lists)
    async with chunked(every(1, 7), 3, within=1.5).under(Idle(2.6)) as lists:
        assert [some async for some in lists] == [[0, 1], [2, 3], [4, 5], [6]]


@virtual
async def test_cancelled_pulls_are_within_the_limits(virtual_clock: VirtualClock) -> None:
    """Each begins the wait for the next list anew, and none the time of the whole."""
    for policy, ends in ((Timeout(5), 5), (Idle(1), 100)):
        start = virtual_clock.time()
        cuts = 0
        async with chunked(every(1, 10_000), 1000, within=100).under(policy) as lists:
            with pytest.raises(TimedOut):
                while True:
                    try:
                        assert len(await asyncio.wait_for(anext(lists), 0.7)) == 100
                    except TimedOut:
                        raise
                    except TimeoutError:
                        cuts += 1
                    else:
                        await asyncio.sleep(10)
                        await anext(lists)
        assert cuts >= ends
        assert virtual_clock.time() - start == pytest.approx(5 if ends == 5 else 101 + 10 + 1, abs=1)


@TIMES
async def test_a_cancelled_pull_is_no_end_of_the_call(within: float | None) -> None:
    """Its permit is held on, and it is counted once, as it ends."""
    limit = ConcurrencyLimit(1)

    class Slow:
        """An iterator that goes on after a cancel."""

        def __init__(self) -> None:
            self.given = 0

        def __aiter__(self) -> "Slow":
            return self

        async def __anext__(self) -> int:
            await ticks(3)
            if self.given == 5:
                raise StopAsyncIteration
            self.given += 1
            return self.given

    async with Runtime() as runtime:
        before = runtime.statistics().effects.get("chunked")
        async with chunked(Slow(), 2, within=within).under(limit, Timeout(LONG)) as lists:
            for _ in range(2):  # before the first list
                await cut(lists)
                assert limit.statistics().in_flight == 1
            seen = [some async for some in lists]
        assert seen == [[1, 2], [3, 4], [5]]
        assert limit.statistics().in_flight == 0
        after = runtime.statistics().effects["chunked"]
        was = (before.succeeded, before.cancelled, before.failed) if before is not None else (0, 0, 0)
        assert (after.succeeded, after.cancelled, after.failed) == (was[0] + 1, was[1], was[2])


@TIMES
async def test_leaving_after_a_cancelled_pull(within: float | None) -> None:
    limit = ConcurrencyLimit(1)
    source = Source(None, 3)
    async with chunked(source, 2, within=within).under(limit) as lists:
        await cut(lists, 4)
    assert source.closed == 1
    assert limit.statistics().in_flight == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_retry_acts_until_the_first_list() -> None:
    tries: list[int] = []

    class Flaky:
        async def __aiter__(self) -> AsyncIterator[int]:  # type: ignore[misc]
            tries.append(1)
            yield 1
            await ticks(1)
            if len(tries) < 3:
                raise Boom
            yield 2
            yield 3

    async with chunked(Flaky(), 2).under(Retry(on=Boom, backoff=constant(0))) as lists:
        with pytest.raises(Boom):
            assert [some async for some in lists] == [[1]]
    assert len(tries) == 1  # the first list was out: what was read before the error is one
    with pytest.raises(TypeError, match="was given a generator, which would be empty the second time"):
        chunked(every(0, 1), 2).under(Retry(on=Boom))


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_a_pull_that_a_timeout_ends_is_the_end() -> None:
    """A cancel of a policy's own is none that the stream outlives."""
    closed: list[int] = []

    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(LONG)
        finally:
            closed.append(1)

    for within in (None, 100):
        async with chunked(rows(), 2, within=within).under(Timeout(1)) as lists:
            with pytest.raises(TimedOut):
                await anext(lists)
            with pytest.raises(StopAsyncIteration):
                await anext(lists)
    assert closed == [1, 1]


@virtual
async def test_a_cancel_beside_a_timeout(virtual_clock: VirtualClock) -> None:
    """The source is closed, and the cancel is raised."""
    closed: list[float] = []

    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0.5)
            closed.append(virtual_clock.time())

    async def read(at: float) -> None:
        async with chunked(rows(), 2, within=100).under(Timeout(1)) as lists:
            await anext(lists)

    for at in (1.0, 1.2):
        closed.clear()
        start = virtual_clock.time()
        task = asyncio.create_task(read(at))
        asyncio.get_running_loop().call_later(at, task.cancel, "why")
        await asyncio.wait([task])
        assert [each - start for each in closed] == [pytest.approx(min(at, 1) + 0.5)]
        assert virtual_clock.time() - start == pytest.approx(min(at, 1) + 0.5)
        assert task.cancelled()
