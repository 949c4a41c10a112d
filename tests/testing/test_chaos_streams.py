"""Chaos around a stream: a fault is one of its start."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mountain_runtime import Fallback, Idle, Retry, Timeout, constant, stream
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import ChaosStatistics, VirtualClock, chaos


async def three() -> AsyncIterator[int]:
    for n in range(3):
        await asyncio.sleep(1)
        yield n


async def test_a_stream_fails_before_its_first_item_or_not_at_all(virtual_clock: VirtualClock) -> None:
    faults = chaos(fail=0.7)
    items = stream(Retry(on=ConnectionError, attempts=None, backoff=constant(0)), faults)(three)
    with faults.on():
        assert [item async for item in items()] == [0, 1, 2]
    found = faults.statistics()
    assert found.failed == found.calls - 1 > 0
    assert virtual_clock.time() == 3
    with (always := chaos(fail=1)).on():
        with pytest.raises(ConnectionError):
            await anext(aiter(stream(always)(three)()))
        instead = stream(Fallback(lambda error: 7, on=ConnectionError), always)(three)
        assert [item async for item in instead()] == [7]
    assert [item async for item in instead()] == [0, 1, 2]


async def test_a_stream_begins_late_or_hangs(virtual_clock: VirtualClock) -> None:
    late, hangs = chaos(slow=1, delay=5), chaos(hang=1)
    with late.on():
        assert [item async for item in stream(late)(three)()] == [0, 1, 2]
    assert virtual_clock.time() == 8
    for limit in (Timeout(2), Idle(2)):
        began = virtual_clock.time()
        with hangs.on(), pytest.raises(TimedOut):
            async with stream(limit, hangs)(three)() as items:
                await anext(items)
        assert virtual_clock.time() == began + 2


async def test_a_stream_that_hangs_is_left_or_goes_on(virtual_clock: VirtualClock) -> None:
    faults = chaos(hang=1)

    async def read() -> list[int]:
        async with stream(faults)(three)() as items:
            return [item async for item in items]

    with faults.on():
        cancelled, goes_on = asyncio.create_task(read()), asyncio.create_task(read())
        await virtual_clock.advance(60)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert not goes_on.done()
    assert await goes_on == [0, 1, 2]
    assert faults.statistics() == ChaosStatistics(2, 0, 0, 2)
