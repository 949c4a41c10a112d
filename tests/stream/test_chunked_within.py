"""Lists by time: when they go out; and pulls that are cancelled."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from mountain_runtime import amap, chunked
from mountain_runtime.testing import VirtualClock

from .sources import Boom, Source, ticks

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])  # time can be virtual there only
SPAN: ContextVar[str] = ContextVar("span", default="none")
LONG = 30


async def at(*times: float, error: BaseException | None = None) -> AsyncIterator[float]:
    """Gives each time when it has come, and then the error."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for time in times:
        await asyncio.sleep(start + time - loop.time())
        yield time
    if error is not None:
        raise error


async def taken(source: Any, size: int, within: Any, *, holds: float = 0) -> list[tuple[float, list[float]]]:
    """The lists with the times at which they came; the reader holds each for a while."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    seen = []
    async with chunked(source, size, within=within) as lists:
        async for some in lists:
            seen.append((round(loop.time() - start, 6), some))
            await asyncio.sleep(holds)
    return seen


# -- when a list goes out -----------------------------------------------------------------------------------------


@virtual
@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("within", [1, 1.0, timedelta(seconds=1)])
async def test_a_list_goes_out_so_long_after_its_first_item(within: Any) -> None:
    assert await taken(at(5, 5.5, 5.9, 6.5, 20), 100, within) == [(6, [5, 5.5, 5.9]), (7.5, [6.5]), (20, [20])]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_a_full_list_goes_out_at_once_and_the_next_has_its_own_time() -> None:
    times = (0, 0.2, 0.4, 0.6, 2, 2.1, 2.2, 9)
    assert await taken(at(*times), 3, 1) == [(0.4, [0, 0.2, 0.4]), (1.6, [0.6]), (2.2, [2, 2.1, 2.2]), (9, [9])]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_the_end_of_the_source_is_waited_for_by_no_timer() -> None:
    assert await taken(at(0, 0.1), 100, 50) == [(0.1, [0, 0.1])]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_an_error_waits_for_the_list_before_it_and_for_no_timer() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with chunked(at(0, 0.1, error=Boom()), 100, within=50) as lists:
        assert await anext(lists) == [0, 0.1]
        with pytest.raises(Boom):
            await anext(lists)
    assert loop.time() - start == pytest.approx(0.1)


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_what_is_due_while_the_reader_is_away_goes_out_when_it_comes() -> None:
    """All that has come until then is in it."""
    times = (0, 0.5, 3, 3.5, 4.5)
    assert await taken(at(*times), 3, 1, holds=4) == [(1, [0, 0.5]), (5, [3, 3.5, 4.5])]
    assert await taken(at(*times), 9, 1, holds=2.2) == [(1, [0, 0.5]), (4, [3, 3.5]), (6.2, [4.5])]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_a_reader_that_comes_early_waits_for_what_is_left_of_the_time() -> None:
    assert await taken(at(0, 1.5, 30), 9, 1, holds=2) == [(1, [0]), (3, [1.5]), (30, [30])]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_at_once() -> None:
    """`within=0` gives what has come when the loop turns."""
    found = await taken(at(0, 0, 0, 1, 1), 2, 0)
    assert [time for _, some in found for time in some] == [0, 0, 0, 1, 1]
    assert all(time == came for came, some in found for time in some)


@virtual
async def test_no_limit_of_time(virtual_clock: VirtualClock) -> None:
    for within in (None, inf, 1e300):
        start = virtual_clock.time()
        assert await taken(at(0, 1000, 2000), 2, within) == [(1000, [0, 1000]), (2000, [2000])]
        assert virtual_clock.time() - start == 2000


async def test_a_time_passes_on_each_loop() -> None:
    """With a real millisecond, as one loop's timers are as coarse."""

    async def two() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0.01)
        yield 2

    async with asyncio.timeout(LONG), chunked(two(), 9, within=0.001) as lists:
        assert [some async for some in lists] == [[1], [2]]


@virtual
@pytest.mark.usefixtures("virtual_clock")
async def test_a_timer_that_is_early_is_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's are, by up to half a millisecond."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    times: list[float] = []

    def early(when: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        times.append(when)
        return call_at(when - 0.0005, callback, *args, **more)

    async with chunked(at(0, 5), 9, within=1) as lists:
        pull = asyncio.ensure_future(anext(lists))
        await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_at", early)
            assert await pull == [0]
    assert len(times) <= 2  # the source's sleep is one


# -- pulls that are cancelled -------------------------------------------------------------------------------------


@virtual
@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize("patience", [0.1, 0.3, 0.7, 1.0, 2.5])
async def test_pulls_that_time_out_lose_nothing(patience: float) -> None:
    times = (0, 0.5, 0.9, 1.0, 1.7, 5, 5.1)
    seen: list[list[float]] = []
    async with chunked(at(*times), 3, within=2) as lists:
        while True:
            try:
                seen.append(await asyncio.wait_for(anext(lists), patience))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
    assert [item for some in seen for item in some] == list(times)
    assert max(len(some) for some in seen) <= 3


@pytest.mark.parametrize("within", [None, LONG])
@pytest.mark.parametrize("after", range(12))
async def test_a_pull_that_is_cancelled_leaves_its_items_for_the_next(after: int, within: float | None) -> None:
    """By size alone, the cancel reaches the source, as in any loop; this one goes on."""

    async def same(n: int) -> int:
        await ticks(1)
        return n

    async with amap(same, range(10), limit=2, ordered=True) as results:
        async with chunked(results, 4, within=within) as lists:
            seen: list[int] = []
            while True:
                pull = asyncio.ensure_future(anext(lists))
                await ticks(after)
                pull.cancel()
                try:
                    seen += [n for n, _ in await pull]
                except asyncio.CancelledError:
                    if not after:  # it has no chance
                        break
                except StopAsyncIteration:
                    break
    assert seen == ([] if not after else list(range(10)))


async def test_a_generator_that_a_cancelled_pull_has_ended_loses_nothing_that_was_read() -> None:
    source = Source(None, 1)
    async with chunked(source, 5) as lists:
        pull = asyncio.ensure_future(anext(lists))
        while source.given < 3:
            await ticks(1)
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull
        assert [some async for some in lists] == [[*range(source.given)]]


def test_a_close_on_another_loop_does_not_wait_for_the_sources_task() -> None:
    """As in a forked child: the loop of that task does not run."""

    async def source() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0)

    async def opened() -> Any:
        items = aiter(chunked(source(), 2, within=1))
        assert await anext(items) == [1, 1]
        return items

    async def close(items: Any) -> bool:
        done, _ = await asyncio.wait([closing := asyncio.ensure_future(items.aclose())], timeout=1)
        return closing in done

    with asyncio.Runner() as one:
        items = one.run(opened())
        other = asyncio.new_event_loop()
        assert other.run_until_complete(close(items))
        other.close()


def test_a_pull_on_another_loop_says_so() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def opened() -> Any:
        lists = aiter(chunked(Source(9, 1), 2, within=LONG))
        assert len(await anext(lists)) == 2
        return lists

    async def pulled(lists: Any) -> None:
        with pytest.raises(RuntimeError, match="pulled on the loop on which it was opened"):
            while True:
                await anext(lists)

    try:
        lists = first.run_until_complete(opened())
        second.run_until_complete(asyncio.wait_for(pulled(lists), 5))
        first.run_until_complete(lists.aclose())
    finally:
        first.close()
        second.close()
