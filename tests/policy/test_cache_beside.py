"""Cache: what it does beside other policies, and with native effects."""

import asyncio
from pathlib import Path

import pytest

from mountain_runtime import (
    Cache,
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    RateLimit,
    Retry,
    Timeout,
    _native,
    blocking,
    constant,
    effect,
    fs,
    gather,
)
from mountain_runtime.errors import CircuitOpen, ConfigError, RateLimited, TimedOut

from .sources import Source, passed
from .support import AT_ONCE, LONG, SOON, Boom, Calls, Watch, forever, suspends

# -- beside other policies -----------------------------------------------------------------------------------


async def test_outside_a_retry_one_run_tries_again_for_all() -> None:
    calls = Calls(Boom, Boom, then_value=True)
    name = "cache-outside-retry"
    before = _native.effect_statistics().get(name, (0,) * 10)
    get = effect(Cache(ttl=LONG), Retry(on=Boom, backoff=constant(0)), name=name)(calls)
    assert await asyncio.gather(*[get() for _ in range(10)]) == [3] * 10
    assert calls.count == 3
    counts = [now - then for now, then in zip(_native.effect_statistics()[name], before, strict=True)]
    assert (counts[0], counts[1], counts[5]) == (10, 10, 2)


async def test_inside_a_retry_each_flight_is_an_attempt() -> None:
    calls = Calls(Boom("always"))
    name = "cache-inside-retry"
    before = _native.effect_statistics().get(name, (0,) * 10)[5]
    with pytest.raises(Boom) as raised:
        await effect(Retry(on=Boom, backoff=constant(0)), Cache(ttl=LONG), name=name)(calls)()
    assert calls.count == 3
    assert any("3 times" in note for note in raised.value.__notes__)
    assert _native.effect_statistics()[name][5] - before == 2


async def test_a_timeout_inside_is_of_the_same_list_as_a_retry_outside() -> None:
    """A Retry goes on from the TimedOut of a Timeout inside it, named or not, with a flight in between as well."""
    calls: list[int] = []

    async def hangs_twice() -> int:
        calls.append(1)
        if len(calls) < 3:
            await forever()
        return len(calls)

    for stack in ([Cache(ttl=LONG)], [Cache(ttl=LONG), Cache(ttl=LONG)], [Fallback(str, on=KeyError)]):
        calls.clear()
        assert await effect(Retry(on=KeyError, backoff=constant(0)), *stack, Timeout(SOON))(hangs_twice)() == 3

    async def passes_on() -> int:
        return await effect(Timeout(SOON))(hangs_twice)()  # another list's limit must be named

    calls.clear()
    with pytest.raises(TimedOut):
        await effect(Retry(on=KeyError, backoff=constant(0)), Cache(ttl=LONG))(passes_on)()
    assert len(calls) == 1


async def test_a_timeout_outside_says_that_the_work_may_have_run() -> None:
    with Watch() as watch, pytest.raises(TimedOut) as ended:
        await effect(Timeout(SOON), Cache(ttl=LONG), name="slow")(forever)()
    assert watch.took < AT_ONCE
    assert (ended.value.effect, ended.value.policy, ended.value.attempt) == ("slow", f"Timeout({SOON})", 1)
    assert "may have run" in str(ended.value)


async def test_a_breaker_outside_counts_what_is_fetched_and_no_hit() -> None:
    breaker = CircuitBreaker(failures=2, cooldown=SOON)
    source = Source()
    get = effect(breaker, Cache(ttl=LONG))(source.get)
    await get(0)
    source.error = Boom()
    for x in (1, 2):
        assert breaker.state() == "closed"
        await get(0)  # a hit is no success: it does not end the row
        with pytest.raises(Boom):
            await get(x)
    assert breaker.state() == "open"
    with pytest.raises(CircuitOpen):
        await get(0)
    await passed(SOON)
    assert await get(0) == 1
    assert breaker.state() == "half_open"  # nor is it a probe
    source.error = None
    assert await get(3) == 4
    assert breaker.state() == "closed"


async def test_a_breaker_inside_counts_each_run_once() -> None:
    breaker = CircuitBreaker(failures=2, cooldown=LONG)
    source = Source()
    source.error = Boom()
    get = effect(Cache(ttl=LONG), breaker)(source.get)
    found = await asyncio.gather(*[get() for _ in range(10)], return_exceptions=True)
    assert [type(each) for each in found] == [Boom] * 10
    assert breaker.state() == "closed"
    with pytest.raises(Boom):
        await get()
    assert breaker.state() == "open"
    with pytest.raises(CircuitOpen):
        await get()


async def test_limits_inside_are_spared_by_hits() -> None:
    rate, places = RateLimit(1, per=LONG, max_wait=0), ConcurrencyLimit(1)
    get = effect(Cache(ttl=LONG), places, rate)(Source().get)
    assert await asyncio.gather(*[get() for _ in range(20)]) == [1] * 20
    with pytest.raises(RateLimited):
        await get(2)
    assert places.statistics().in_flight == 0


async def test_two_in_one_list() -> None:
    near, far = Cache(ttl=SOON), Cache(ttl=LONG)
    source = Source()
    get = effect(near, far)(source.get)
    assert await get() == 1
    await passed(SOON)
    assert await get() == 1
    assert (near.statistics()["misses"], far.statistics()["misses"]) == (2, 1)
    with pytest.raises(ConfigError, match="twice"):
        effect(near, near)(source.get)


async def test_a_blocking_function() -> None:
    calls: list[int] = []

    @blocking(Cache(ttl=LONG))
    def get(x: int, y: int = 0) -> int:
        calls.append(x)
        return x * 2

    assert await asyncio.gather(get(3), get(x=3), get(3, 0)) == [6] * 3
    assert calls == [3]


# -- native effects ------------------------------------------------------------------------------------------


async def test_files_by_path_and_option(tmp_path: Path) -> None:
    cache = Cache(ttl=LONG)
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.write_bytes("grün".encode())
    two.write_bytes(b"two")
    link.symlink_to(one)

    assert await fs.read_bytes(one).under(cache) == "grün".encode()
    assert await fs.read_bytes(two).under(cache) == b"two"
    assert await fs.read_text(one).under(cache) == "grün"
    assert await fs.read_text(one, encoding="latin-1").under(cache) == "grün".encode().decode("latin-1")
    assert (await fs.stat(link).under(cache)).is_file
    assert (await fs.stat(link, follow_symlinks=False).under(cache)).is_symlink
    assert cache.statistics()["misses"] == 6
    one.write_bytes(b"other")
    assert await fs.read_bytes(one).under(cache) == "grün".encode()
    assert cache.statistics()["hits"] == 1
    cache.invalidate(one)  # of every function
    assert await fs.read_bytes(one).under(cache) == b"other"
    assert await fs.read_text(one).under(cache) == "other"
    assert await fs.read_bytes(two).under(cache) == b"two"
    with pytest.raises(FileNotFoundError):
        await fs.read_bytes(tmp_path / "missing").under(cache, Retry(on=OSError, backoff=constant(0)))


async def test_many_readers_of_one_file_read_it_once(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"x" * 1000)
    cache = Cache(ttl=LONG)
    found = await gather([fs.read_bytes(there).under(cache) for _ in range(100)])
    assert found == [b"x" * 1000] * 100
    assert all(each is found[0] for each in found)


def test_what_is_made_of_other_effects_has_no_arguments() -> None:
    cache = Cache(ttl=LONG)
    mapped = _native.trial_noop(1).map(str)
    both = gather([_native.trial_noop(1), _native.trial_noop(2)])
    for work in (mapped, both):
        with pytest.raises(ConfigError, match=r"Cache\(ttl=30\) has the arguments as its key"):
            work.under(cache)
    for each in (mapped, both):
        each.close()


async def test_call_makes_a_cached_effect_of_any_function() -> None:
    cache = Cache(ttl=LONG)
    assert [await cache.call(suspends, 1), await cache.call(suspends, value=1)] == [1, 1]
    assert cache.statistics()["hits"] == 1
