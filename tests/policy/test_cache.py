"""Cache: what is kept, for whom, under which key, how long; and what it does beside other policies."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Watch, forever, suspends


class Source:
    """Gives 1, 2, 3 ... by what it was asked, and notes that; or fails, while it is told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None

    async def get(self, x: Any = None, y: Any = 0) -> int:
        self.asked.append(x if y == 0 else (x, y))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return len(self.asked)


async def passed(seconds: float) -> None:
    """The engine's clock is past that time from now."""
    await asyncio.sleep(seconds * 1.2)


async def eventually(holds: Callable[[], bool]) -> None:
    """What happens beside us has happened: there is nothing to wait on."""
    while not holds():
        await asyncio.sleep(0.001)


# -- what is kept --------------------------------------------------------------------------------------------


async def test_a_value_is_kept_and_given_to_all_who_ask_later() -> None:
    source = Source()
    cache = Cache(ttl=LONG)
    get = effect(cache)(source.get)
    assert [await get(1), await get(1), await get(2), await get(1)] == [1, 1, 2, 1]
    assert source.asked == [1, 2]
    assert cache.statistics() == {"hits": 2, "misses": 2, "stale_hits": 0, "evicted": 0, "size": 2}


async def test_it_is_kept_for_its_time() -> None:
    source = Source()
    get = effect(Cache(ttl=SOON))(source.get)
    assert [await get(1), await get(1)] == [1, 1]
    await passed(SOON)
    assert [await get(1), await get(1)] == [2, 2]


async def test_no_time_keeps_nothing_and_infinite_time_everything() -> None:
    source = Source()
    assert [await effect(Cache(ttl=0))(source.get)() for _ in range(3)] == [1, 2, 3]
    for ttl in (float("inf"), 1e300):
        get = effect(Cache(ttl=ttl))(Source().get)
        assert [await get() for _ in range(3)] == [1, 1, 1]


async def test_none_is_a_value_like_any_other() -> None:
    for nothing in (None, False, 0, ""):
        log: list[int] = []

        @effect(Cache(ttl=LONG))
        async def gives(nothing: Any = nothing, log: Any = log) -> Any:
            log.append(1)
            return nothing

        work = gives(log=_Hashable(log))
        assert [await work, await work] == [nothing] * 2
        assert len(log) == 1


class _Hashable(list[int]):
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, log: list[int]) -> None:
        self.append = log.append  # type: ignore[method-assign]


async def test_an_error_is_not_kept() -> None:
    calls = Calls(Boom("one"), Boom("two"), then_value=True)
    get = effect(Cache(ttl=LONG))(calls)
    for message in ("one", "two"):
        with pytest.raises(Boom, match=message):
            await get()
    assert [await get(), await get()] == [3, 3]


async def test_values_are_shared_not_copied() -> None:
    """L11: whoever changes what he is given changes it for all."""

    @effect(Cache(ttl=LONG))
    async def rows() -> list[int]:
        return [1]

    first = await rows()
    first.append(2)
    assert await rows() is first
    assert await rows() == [1, 2]


async def test_a_generator_that_is_a_value_can_be_used_once_in_all() -> None:
    """L11: documented. What is kept is the object, and that is used up."""

    @effect(Cache(ttl=LONG))
    async def numbers() -> Iterator[int]:
        return iter([1, 2])

    assert list(await numbers()) == [1, 2]
    assert list(await numbers()) == []


async def test_size_5_20_keys_cleared_midway() -> None:
    """L9: every caller has his result, whatever is cleared or thrown out meanwhile."""
    gate = asyncio.Event()
    cache = Cache(ttl=LONG, max_size=5)

    @effect(cache)
    async def double(x: int) -> int:
        await gate.wait()
        return 2 * x

    async def ask(x: int) -> int:
        return await double(x)

    asked = [asyncio.create_task(ask(x)) for x in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cache.clear()
    gate.set()
    assert await asyncio.gather(*asked) == [2 * x for x in range(20)]
    assert cache.statistics()["size"] == 0  # what was under way when it was cleared is of before
    assert [await double(x) for x in range(20)] == [2 * x for x in range(20)]
    assert cache.statistics()["size"] == 5
    assert cache.statistics()["evicted"] == 15
    misses = cache.statistics()["misses"]
    assert [await double(x) for x in range(15, 20)] == [30, 32, 34, 36, 38]
    assert cache.statistics()["misses"] == misses


async def test_the_one_not_asked_for_the_longest_goes_first() -> None:
    source = Source()
    get = effect(Cache(ttl=LONG, max_size=2))(source.get)
    for x in (1, 2, 1, 3, 1, 2):
        await get(x)
    assert source.asked == [1, 2, 3, 2]


async def test_it_keeps_values_and_no_tasks_contexts_or_frames() -> None:
    """L9: what a value is held with is the value."""

    class Value: ...

    class Local: ...

    gone: list[weakref.ref[Any]] = []

    @effect(Cache(ttl=LONG))
    async def get() -> Value:
        local, task = Local(), asyncio.current_task()
        gone.extend([weakref.ref(local), weakref.ref(task)])
        await asyncio.sleep(0)
        return Value()

    value = weakref.ref(await get())
    await asyncio.sleep(0)  # the flight's task is let go of by its loop
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert value() is not None
    assert await get() is value()


# -- out of date ---------------------------------------------------------------------------------------------


async def test_a_stale_value_is_given_at_once_while_one_run_fetches_another() -> None:
    gate = asyncio.Event()
    asked: list[int] = []
    cache = Cache(ttl=SOON, stale=LONG)

    @effect(cache)
    async def get() -> int:
        asked.append(1)
        if len(asked) > 1:
            await gate.wait()
        return len(asked)

    assert await get() == 1
    await passed(SOON)
    with Watch() as watch:
        assert [await get() for _ in range(10)] == [1] * 10
    assert watch.took < AT_ONCE
    await asyncio.sleep(0)
    assert len(asked) == 2
    assert cache.statistics()["stale_hits"] == 10
    gate.set()
    await eventually(lambda: cache.statistics()["size"] == 1 and len(asked) == 2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await get() == 2


async def test_after_that_time_it_is_fetched_like_any_other() -> None:
    source = Source()
    get = effect(Cache(ttl=SOON / 2, stale=SOON / 2))(source.get)
    assert await get() == 1
    await passed(SOON)
    assert await get() == 2


@pytest.mark.parametrize("refusal", ["breaker", "rate", "fails", "times out"])
async def test_a_stale_value_is_served_when_the_inside_refuses_or_fails(refusal: str, complaints: list[str]) -> None:
    source = Source()
    breaker = CircuitBreaker()
    inner: dict[str, Any] = {
        "breaker": breaker,
        "rate": RateLimit(1, per=LONG, max_wait=0),
        "fails": Timeout(LONG),
        "times out": Timeout(0),
    }
    cache = Cache(ttl=SOON, stale=LONG)
    waits = [False]

    @effect(cache, inner[refusal])
    async def get() -> int:
        if waits[0]:
            await forever()
        return await source.get() if refusal != "times out" else 1

    assert await get() == 1
    await passed(SOON)
    breaker.isolate()
    source.error, waits[0] = Boom(), refusal == "times out"
    for _ in range(3):
        assert await get() == 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    cache.clear()
    expected = {"breaker": CircuitOpen, "rate": RateLimited, "fails": Boom, "times out": TimedOut}
    with pytest.raises(expected[refusal]):
        await get()
    gc.collect()
    assert complaints == []


# -- keys ----------------------------------------------------------------------------------------------------


async def test_one_call_is_one_key_however_it_is_written() -> None:
    source = Source()

    @effect(Cache(ttl=LONG))
    async def get(x: int, y: int = 0, *, z: int = 5) -> int:
        return await source.get(x, y)

    assert len({await get(1), await get(x=1), await get(1, y=0), await get(y=0, x=1), await get(1, 0, z=5)}) == 1
    assert len({await get(1), await get(1, 2), await get(1, z=6)}) == 3


async def test_what_is_given_by_name_is_no_argument_by_position() -> None:
    @effect(Cache(ttl=LONG))
    async def get(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert await get(("a", 1)) == ((("a", 1),), {})
    assert await get(a=1) == ((), {"a": 1})
    assert await get(b=2, a=1) is await get(a=1, b=2)


async def test_a_method_is_kept_by_the_identity_of_self() -> None:
    class Api:
        def __init__(self) -> None:
            self.gets = 0

        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody asks whether two of them are equal")

        __hash__ = None  # type: ignore[assignment]

        @effect(Cache(ttl=LONG))
        async def get(self, x: int) -> int:
            self.gets += 1
            return self.gets

    one, two = Api(), Api()
    assert [await one.get(1), await one.get(x=1), await two.get(1), await one.get(2)] == [1, 1, 1, 2]
    assert (one.gets, two.gets) == (2, 1)


async def test_a_bound_method_of_anybody() -> None:
    one, two, cache = Source(), Source(), Cache(ttl=LONG)
    for _ in range(3):
        assert await cache.call(one.get, 1) == 1
        assert await cache.call(two.get, 1) == 1
    assert one.asked == two.asked == [1]


async def test_functions_that_share_a_cache_share_its_room_alone() -> None:
    cache = Cache(ttl=LONG, max_size=3)
    one, two = Source(), Source()

    @effect(cache)
    async def first(x: int) -> int:
        return await one.get(x)

    @effect(cache)
    async def second(x: int) -> int:
        return await two.get(x) + 100

    assert [await first(1), await second(1), await first(1), await second(1)] == [1, 101, 1, 101]
    assert cache.statistics()["size"] == 2
    await gather([first(2), second(2), first(3)])
    assert cache.statistics()["size"] == 3


async def test_the_same_function_twice_under_one_cache_shares_its_values() -> None:
    source, cache = Source(), Cache(ttl=LONG)
    assert await effect(source.get)(1).under(cache) == 1
    assert await effect(Timeout(LONG))(source.get)(1).under(cache) == 1
    assert await cache.call(source.get, 1) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [(({},), {}, "'x'"), ((1, []), {}, "'y'"), ((), {"x": 1, "z": {1}}, "'z'"), ((1, 2, 3, []), {}, "'more'")],
)
async def test_an_argument_without_a_hash_is_named(args: Any, kwargs: Any, named: str) -> None:
    """L11."""

    @effect(Cache(ttl=LONG), name="lookup")
    async def lookup(x: Any, y: Any = 0, *more: Any, z: Any = 0) -> int:
        raise AssertionError("it is not called")

    with pytest.raises(TypeError, match=r"effect 'lookup' is cached by its arguments.*has no hash.*key=") as raised:
        await lookup(*args, **kwargs)
    assert named in str(raised.value)


async def test_a_key_that_cannot_be_compared_says_so_itself() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise Boom("no comparison")

    get = effect(Cache(ttl=LONG))(Source().get)
    await get(Odd())
    with pytest.raises(Boom, match="no comparison"):
        await get(Odd())


async def test_key_makes_the_key_of_the_arguments() -> None:
    source = Source()

    @effect(Cache(ttl=LONG, key=lambda user, fields=None: user["id"]))
    async def get(user: dict[str, int], fields: list[str] | None = None) -> int:
        return await source.get(user["id"])

    assert [await get({"id": 1}), await get(user={"id": 1, "x": 2}), await get({"id": 2}, [])] == [1, 1, 2]

    bad = effect(Cache(ttl=LONG, key=lambda x: [x]), name="bad")(Source().get)
    with pytest.raises(TypeError, match="effect 'bad' is cached by a key that has no hash"):
        await bad(1)


# -- forgetting ----------------------------------------------------------------------------------------------


async def test_invalidate_takes_a_calls_arguments_as_they_may_be_written() -> None:
    source, cache = Source(), Cache(ttl=LONG)

    @effect(cache)
    async def get(x: int, y: int = 0) -> int:
        return await source.get(x, y)

    for times, forget in enumerate([lambda: cache.invalidate(1), lambda: cache.invalidate(x=1, y=0)], 2):
        await get(1)
        await get(2)
        forget()
        assert await get(1) == times + 1
    assert source.asked == [1, 2, 1, 1]
    cache.invalidate(7)  # nothing is there
    cache.invalidate(1, 2, 3, 4)  # no call
    cache.invalidate(nonsense=1)
    await get(1)
    await get(2)
    assert len(source.asked) == 4


async def test_invalidate_is_for_every_function_that_shares_the_cache() -> None:
    one, two, cache = Source(), Source(), Cache(ttl=LONG)

    class Api:
        @effect(cache)
        async def get(self, x: int) -> int:
            return await two.get(x)

    @effect(cache)
    async def get(x: int) -> int:
        return await one.get(x)

    api = Api()
    for _ in range(2):
        await get(1)
        await api.get(1)
        await api.get(2)
    cache.invalidate(1)
    cache.invalidate(api, 1)
    await get(1)
    await api.get(1)
    await api.get(2)
    assert one.asked == [1, 1]
    assert two.asked == [1, 2, 1]


async def test_invalidate_with_a_key() -> None:
    source = Source()
    cache = Cache(ttl=LONG, key=lambda x, y=0: x % 10)
    get = effect(cache)(source.get)
    assert [await get(1), await get(11)] == [1, 1]
    cache.invalidate(x=21)
    assert await get(1) == 2


@pytest.mark.parametrize("forget", ["clear", "invalidate"])
async def test_what_is_forgotten_while_it_is_under_way_is_for_those_who_wait(forget: str) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[int] = []
    cache = Cache(ttl=LONG)

    @effect(cache)
    async def get() -> int:
        number = len(begun)
        begun.append(number)
        await gates[number].wait()
        return number

    async def ask() -> int:
        return await get()

    async def begins(runs: int) -> "asyncio.Task[int]":
        task = asyncio.create_task(ask())
        await eventually(lambda: len(begun) == runs)
        return task

    before = await begins(1)
    if forget == "clear":
        cache.clear()
    else:
        cache.invalidate()
    after = await begins(2)  # whoever comes now has another run
    gates[1].set()
    assert await after == 1
    gates[0].set()
    assert await before == 0
    assert await get() == 1  # the older run's value, which came later, has not replaced it


async def test_a_thousand_methods_of_one_cache_are_forgotten_quickly() -> None:
    cache = Cache(ttl=LONG, max_size=10_000)
    sources = [Source() for _ in range(5_000)]
    for source in sources:
        await cache.call(source.get, 1)
    with Watch() as watch:
        cache.invalidate(1)
    assert watch.took < AT_ONCE
    assert cache.statistics()["size"] == 0


async def test_values_go_with_their_cache_even_in_a_ring() -> None:
    class Value: ...

    def ring() -> tuple["weakref.ref[Value]", Any]:
        value = Value()
        cache = Cache(ttl=LONG)

        @effect(cache)
        async def get(_: Any) -> Value:
            return value

        value.back = get  # type: ignore[attr-defined]
        return weakref.ref(value), get

    ref, get = ring()
    await get(1)
    del get
    await asyncio.sleep(0)
    gc.collect()
    assert ref() is None


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
    mapped = _native.noop(1).map(str)
    both = gather([_native.noop(1), _native.noop(2)])
    for work in (mapped, both):
        with pytest.raises(ConfigError, match=r"Cache\(ttl=30\) has the arguments as its key"):
            work.under(cache)
    for each in (mapped, both):
        each.close()


async def test_call_makes_a_cached_effect_of_any_function() -> None:
    cache = Cache(ttl=LONG)
    assert [await cache.call(suspends, 1), await cache.call(suspends, value=1)] == [1, 1]
    assert cache.statistics()["hits"] == 1
