"""The table of the guide, policy by policy: what each means for a stream."""

import asyncio
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Idle,
    RateLimit,
    Retry,
    Stream,
    Timeout,
    constant,
    effect,
    fs,
    stream,
)
from mountain_runtime.errors import CircuitOpen, ConfigError, TimedOut
from mountain_runtime.testing import VirtualClock

from .support import Boom, Log, attempts, forever, script

AGAIN = Retry(on=Boom, attempts=3, backoff=constant(0))


async def read(source: Stream[Any], into: list[Any]) -> list[Any]:
    async with source as items:
        async for item in items:
            into.append(item)
    return into


# -- Timeout ----------------------------------------------------------------------------------------------------------


async def test_a_timeout_bounds_the_whole_stream(virtual_clock: VirtualClock) -> None:
    log, got = Log(), list[Any]()
    with pytest.raises(TimedOut) as ended:
        await read(stream(Timeout(1), name="ticks")(script)(log, *[0.3, "x"] * 9), got)
    assert (ended.value.effect, ended.value.policy) == ("ticks", "Timeout(1)")
    assert (got, virtual_clock.time()) == (["x"] * 3, 1.0)
    assert log == ["opened", "CancelledError", "closed"]


async def test_its_time_begins_as_the_block_is_entered(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(1))(script)(log, "a", "b") as items:
        await asyncio.sleep(0.6)
        assert await anext(items) == "a"
        await asyncio.sleep(0.6)
        with pytest.raises(TimedOut):
            await anext(items)
    assert log == ["opened", "GeneratorExit", "closed"]


async def test_a_stream_that_is_read_too_late_does_not_begin(virtual_clock: VirtualClock) -> None:
    log = Log()
    async with stream(Timeout(1))(script)(log, "a") as items:
        await asyncio.sleep(2)
        with pytest.raises(TimedOut, match="was not started"):
            await anext(items)
    assert log == []


async def test_a_pull_after_the_time_is_up_gets_no_item_that_is_at_hand() -> None:
    async def endless() -> Any:
        while True:
            yield 1

    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimedOut):
        # Real: nothing here waits, so that no clock can jump.
        async with stream(Timeout(0.02))(endless)() as items:
            async for _ in items:
                assert loop.time() - begun < 10


# -- Idle -------------------------------------------------------------------------------------------------------------


async def test_idle_bounds_the_wait_for_each_item(virtual_clock: VirtualClock) -> None:
    """M3: an item each 50 ms never idles out; silence does, after its last item."""
    got: list[Any] = []
    limits = (Timeout(0.3), Idle(0.1))
    with pytest.raises(TimedOut) as ended:
        await read(stream(*limits)(script)(Log(), *["x", 0.05] * 99), got)
    assert (ended.value.policy, virtual_clock.time()) == ("Timeout(0.3)", 0.3)
    got.clear()
    with pytest.raises(TimedOut) as ended:
        await read(stream(*limits)(script)(Log(), 0.05, "a", 0.05, "b", 99), got)
    assert (ended.value.policy, got) == ("Idle(0.1)", ["a", "b"])
    assert virtual_clock.time() == pytest.approx(0.5)


async def test_idle_counts_the_first_item_and_not_the_consumers_time(virtual_clock: VirtualClock) -> None:
    with pytest.raises(TimedOut):
        await read(stream(Idle(1))(script)(Log(), 2, "a"), [])
    assert virtual_clock.time() == 1.0
    async with stream(Idle(1))(script)(Log(), 0.9, "a", 0.9, "b", "c", 0.9) as items:
        async for _ in items:
            await asyncio.sleep(5)
    assert virtual_clock.time() == pytest.approx(1 + 0.9 * 3 + 5 * 3)


async def test_idle_inside_a_retry_is_tried_again_until_an_item_is_out(virtual_clock: VirtualClock) -> None:
    log = Log()
    source = stream(AGAIN, Idle(1))(attempts)(log, (5, "a"), (0.5, "a", 5, "b"))
    got: list[Any] = []
    with pytest.raises(TimedOut) as ended:
        await read(source, got)
    assert (ended.value.policy, ended.value.attempt, got, log.opened) == ("Idle(1)", 2, ["a"], 2)
    assert virtual_clock.time() == pytest.approx(2.5)


async def test_idle_around_a_queue_counts_the_wait_there(virtual_clock: VirtualClock) -> None:
    one = ConcurrencyLimit(1)

    async def holds() -> None:
        async with one.slot():
            await forever()

    holder = asyncio.create_task(holds())
    await asyncio.sleep(0)
    with pytest.raises(TimedOut):
        await read(stream(Idle(1), one)(script)(Log(), "a"), [])
    assert virtual_clock.time() == 1.0
    holder.cancel()


def test_idle_is_for_streams() -> None:
    with pytest.raises(ConfigError, match=r"Idle\(1\) stands around once, which gives one value: write Timeout"):

        @effect(Idle(1))
        async def once() -> None: ...

    stat = fs.stat("/")
    with pytest.raises(ConfigError):
        stat.under(Idle(1))
    stat.close()
    for wrong in (-1, float("nan"), "1"):
        with pytest.raises(ConfigError):
            Idle(wrong)  # type: ignore[arg-type]


# -- Retry and Fallback -----------------------------------------------------------------------------------------------


async def test_a_retry_acts_until_the_first_item_is_out() -> None:
    """M1: nothing is seen twice."""
    log, got = Log(), list[Any]()
    with pytest.raises(Boom, match="late"):
        await read(stream(AGAIN)(attempts)(log, ("a", "b", Boom("late")), ("a", "b", "c")), got)
    assert (got, log.opened) == (["a", "b"], 1)
    log = Log()
    again = stream(AGAIN)(attempts)(log, (Boom("early"),), ("a", "b", "c"))
    assert await read(again, []) == ["a", "b", "c"]
    assert log == ["opened", "Boom", "closed", "opened", "closed"]


async def test_a_stream_opens_with_its_first_pull() -> None:
    """M2: the refusal comes with the first pull, and is tried again there."""
    log = Log()
    async with stream(AGAIN)(attempts)(log, (Boom("429"),), ("a", "b", "c")) as items:
        assert log == []
        assert [item async for item in items] == ["a", "b", "c"]
    assert log.opened == 2


async def test_a_fallback_gives_another_stream_or_one_item() -> None:
    log = Log()
    spare = stream(script)

    async def later(error: Exception) -> str:
        await asyncio.sleep(0)
        return f"for {error}"

    def under(to: Any, *steps: Any) -> Stream[Any]:
        return stream(Fallback(to, on=Boom))(script)(Log(), *steps)

    failed = Boom("x")
    assert await read(under(lambda _: spare(log, "s", "t"), failed), []) == ["s", "t"]
    assert log == ["opened", "closed"]
    assert await read(under(lambda _: script(log, "g"), failed), []) == ["g"]
    assert await read(under(lambda error: f"for {error}", failed), []) == ["for x"]
    assert await read(under(later, failed), []) == ["for x"]
    got: list[Any] = []
    with pytest.raises(Boom):
        await read(under(lambda _: "no", "a", failed), got)
    assert got == ["a"]


async def test_a_fallbacks_own_stream_is_closed_with_the_one_it_stands_for() -> None:
    log = Log()
    source = stream(Timeout(9), Fallback(lambda _: stream(script)(log, "s", "t"), on=Boom))(script)(Log(), Boom())
    async with source as items:
        assert await anext(items) == "s"
    assert log == ["opened", "GeneratorExit", "closed"]


# -- policies with state ----------------------------------------------------------------------------------------------


async def test_a_limit_holds_its_permit_until_the_end(virtual_clock: VirtualClock) -> None:
    """M5: the next stream waits until this one's body has ended or was closed."""
    one = ConcurrencyLimit(1)
    begun: list[float] = []

    async def wave() -> Any:
        begun.append(virtual_clock.time())
        try:
            while True:
                await asyncio.sleep(0.05)
                yield 1
        finally:
            await asyncio.sleep(0.01)

    async def some(after: float) -> None:
        await asyncio.sleep(after)
        async with stream(one)(wave)() as items:
            async for _ in items:
                if virtual_clock.time() > begun[-1] + 0.17:
                    break

    await asyncio.gather(some(0), some(0.01))
    assert begun == [0.0, pytest.approx(0.21)]
    assert one.statistics().in_flight == 0


async def test_a_rate_counts_the_start(virtual_clock: VirtualClock) -> None:
    two = RateLimit(2, per=10)
    for _ in range(3):
        assert await read(stream(two)(script)(Log(), "a", "b", "c"), []) == ["a", "b", "c"]
    assert virtual_clock.time() == 10.0


async def test_a_breaker_counts_errors_ends_and_no_break(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=2, window=60, cooldown=10, on=Boom)

    async def fails_after_an_item() -> None:
        with pytest.raises(Boom):
            await read(stream(breaker)(script)(Log(), "a", Boom()), [])

    async def is_left() -> None:
        async with stream(breaker)(script)(Log(), "a", "b") as items:
            assert await anext(items) == "a"

    await fails_after_an_item()
    await is_left()
    assert breaker.state() == "closed"
    await fails_after_an_item()
    assert breaker.state() == "open"
    with pytest.raises(CircuitOpen):
        await read(stream(breaker)(script)(Log(), "a"), [])
    await asyncio.sleep(10)
    await is_left()  # a probe that is left says nothing
    assert breaker.state() == "half_open"
    assert await read(stream(breaker)(script)(Log(), "a"), []) == ["a"]
    assert breaker.state() == "closed"


def test_a_cache_is_for_effects() -> None:
    with pytest.raises(ConfigError, match="is about one value, and stream script gives many items"):
        stream(Cache(ttl=1))(script)
    with pytest.raises(ConfigError, match="until"):
        stream(Retry(until=bool))(script)
    with pytest.raises(ConfigError, match="Cache"):
        stream(script)(Log()).under(Cache(ttl=1))


async def test_policies_that_stand_alone_and_none_at_all() -> None:
    for policies in ((), (Timeout(9),), (AGAIN,), (Idle(9),), (ConcurrencyLimit(3),), (RateLimit(9, per=1),)):
        assert await read(stream(*policies)(script)(Log(), "a", 0, "b"), []) == ["a", "b"]
        assert await read(stream(script)(Log(), "a", 0.0, "b").under(*policies), []) == ["a", "b"]


async def test_never_is_waited_for_no_longer_than_the_limit(virtual_clock: VirtualClock) -> None:
    async def hangs() -> Any:
        yield await forever()

    with pytest.raises(TimedOut):
        await read(stream(Timeout(3), AGAIN)(hangs)(), [])
    assert virtual_clock.time() == 3.0
