"""RateLimit, shared: by keys, by functions, by event loops and threads; native work under it; and what it forgets."""

import asyncio
import gc
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import RateLimit, Runtime, Timeout, _native, effect, fs, gather
from mountain_runtime.errors import ConfigError, RateLimited
from mountain_runtime.testing import VirtualClock
from tests.conftest import LoopFactory

from .starts import HELD_UP, Starts, most_within
from .support import AT_ONCE, LONG, SOON, Watch, outcome

PER = 0.2
virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


# -- keys ----------------------------------------------------------------------------------------------------


async def test_each_key_has_a_rate_of_its_own_however_the_call_is_written() -> None:
    limit = RateLimit(2, per=LONG, key=lambda user, *_, **__: user, max_wait=0)

    @effect(limit)
    async def call(user: object, page: int = 1) -> object:
        return user

    assert await call("ada") == "ada"
    assert await call(user="ada", page=2) == "ada"
    for again in (call("ada"), call(user="ada"), call("ada", page=3)):
        assert isinstance(await outcome(again), RateLimited)
    assert await call("bob") == "bob"
    assert await call(1) == 1
    assert await call(True) is True  # equal keys are one key, as in a dict
    assert isinstance(await outcome(call(1.0)), RateLimited)


async def test_keys_and_costs_of_methods_see_self() -> None:
    class Api:
        def __init__(self, account: str) -> None:
            self.account = account

        @effect(RateLimit(3, per=LONG, key=lambda self, size: self.account, cost=lambda self, size: size, max_wait=0))
        async def send(self, size: int) -> int:
            return size

    one, same, other = Api("one"), Api("one"), Api("other")
    assert await one.send(2) == 2
    assert isinstance(await outcome(same.send(size=2)), RateLimited)
    assert await same.send(size=1) == 1
    assert await other.send(3) == 3


async def test_keys_wait_for_themselves_only() -> None:
    starts: dict[str, Starts] = {"a": Starts(), "b": Starts()}
    limit = RateLimit(2, per=PER, key=lambda key: key)

    @effect(limit)
    async def call(key: str) -> None:
        await starts[key]()

    with Watch() as watch:
        await asyncio.gather(*[call("a") for _ in range(6)], *[call("b") for _ in range(6)])
    assert [most_within(each, PER) for each in starts.values()] == [2, 2]
    assert watch.took < PER * 2 + AT_ONCE


async def test_acquire_charge_and_pause_take_the_key() -> None:
    limit = RateLimit(2, per=LONG, key=lambda key: key, max_wait=0)

    @effect(limit)
    async def call(key: str) -> str:
        return key

    await limit.acquire("a")
    limit.charge(1, "a")
    assert isinstance(await outcome(call("a")), RateLimited)
    limit.pause(LONG, key="b")
    assert isinstance(await outcome(limit.acquire("b")), RateLimited)
    assert await call("c") == "c"
    await limit.acquire("c", cost=1)
    assert isinstance(await outcome(limit.acquire("c", cost=1)), RateLimited)


async def test_idle_keys_are_forgotten() -> None:
    """L5, in small: a million of them are in the stress tests."""
    others = _native.statistics()["timers"]  # of what other tests have left to the collector
    limit = RateLimit(1, per=0.05, key=lambda key: key)

    @effect(limit)
    async def call(key: object) -> None: ...

    class Key: ...

    await _native.trial_noop()  # now the clock's thread has a loop to wake
    kept = 0
    for _ in range(10_000):
        await call(Key())
        kept = max(kept, limit._rates.keys)  # not after the loop: it may be held up until all of them are forgotten

    def left() -> int:
        gc.collect()
        return sum(isinstance(each, Key) for each in gc.get_objects())

    async def forgotten(rates: Any) -> None:
        while rates.keys:
            assert watch.so_far() < LONG
            await asyncio.sleep(0.01)  # they go by the clock: there is nothing to wait on

    assert kept
    with Watch() as watch:
        await forgotten(limit._rates)
        # The keys themselves are dropped on the loop, the last few when it has something native to do.
        while left() > 1024:
            assert watch.so_far() < LONG
            await asyncio.sleep(0.01)  # the clock's thread wakes it: likewise
    await call(Key())  # a new key empties what came together, but what the clock's thread has in its hands just now
    while left() > 1:
        assert watch.so_far() < LONG
        await forgotten(limit._rates)
        await call(Key())
    del limit, call
    while left():
        assert watch.so_far() < LONG
        await _native.trial_noop()  # the clock may have let go of it just now, off the loop: as above
    assert _native.statistics()["timers"] <= others


@virtual
async def test_keys_that_say_something_are_kept(virtual_clock: VirtualClock) -> None:
    limit = RateLimit(1, per=600, key=lambda key: key, max_wait=0)
    call = effect(limit)(asyncio.sleep)
    limit.pause(7200, "paused")
    await limit.acquire("used")
    await virtual_clock.advance(599)
    assert limit._rates.keys == 2
    assert isinstance(await outcome(limit.acquire("used")), RateLimited)
    await virtual_clock.advance(100)
    assert limit._rates.keys == 1
    assert isinstance(await outcome(limit.acquire("paused")), RateLimited)
    await virtual_clock.advance(7200)
    assert limit._rates.keys == 0
    await call(0)


def test_a_key_that_refers_to_its_limit_is_collected() -> None:
    class Owner:
        limit: Any

    async def main() -> None:
        owner = Owner()
        owner.limit = RateLimit(1, per=LONG, key=lambda key: key)
        await owner.limit.acquire(owner)

    asyncio.run(main())
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Owner)]


# -- loops and threads ---------------------------------------------------------------------------------------

module_limit = RateLimit(3, per=PER)


@effect(module_limit)
async def module_call(starts: Starts) -> None:
    await starts()


def test_one_limit_in_many_loops(new_loop: LoopFactory) -> None:
    """L4: two runs one after the other, then two threads at once, share what they have."""
    starts = Starts()

    async def calls() -> None:
        await asyncio.gather(*[module_call(starts) for _ in range(3)])

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(calls())

    run()
    run()
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(starts) == 12
    assert most_within(starts, PER) == 3


def test_a_loop_that_is_closed_gives_its_turns_on(new_loop: LoopFactory, complaints: list[str]) -> None:
    """A call that waited there, or had a turn and did not take it, is out of the line."""
    limit = RateLimit(1, per=SOON * 5)
    call = effect(limit)(Starts())

    async def waits() -> list[Any]:
        await call()
        tasks = [asyncio.ensure_future(call()) for _ in range(5)]
        await asyncio.sleep(0)
        return tasks

    for stalled in (False, True):
        loop = new_loop()
        kept = loop.run_until_complete(waits())
        assert limit._rates.waiting == 5
        if stalled:
            time.sleep(SOON * 7)  # the turn of the first comes, and it is not there
            assert limit._rates.waiting == 4
        loop.close()
        assert limit._rates.waiting == 0

        async def next_one() -> float:
            with Watch() as watch:
                await call()
            return watch.took

        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(next_one()) < SOON * 5 + AT_ONCE
        for task in kept:
            task._log_destroy_pending = False  # they are left behind on purpose
        del kept, task
        gc.collect()
    assert complaints == []


# -- native work ---------------------------------------------------------------------------------------------


async def test_native_work_under_it_stays_native(tmp_path: Path) -> None:
    limit = RateLimit(2, per=PER)
    work = _native.trial_noop(7).under(limit)
    assert _native.is_native(work)
    begun = time.monotonic()
    assert await asyncio.gather(work, *[_native.trial_noop(n).under(limit) for n in range(5)]) == [7, 0, 1, 2, 3, 4]
    assert PER * 2 - HELD_UP <= time.monotonic() - begun < PER * 2 + AT_ONCE
    (tmp_path / "file").write_text("text")
    keyed = RateLimit(1, per=LONG, key=lambda path, *_, **__: path, max_wait=0)
    read = fs.read_text(tmp_path / "file").under(keyed)
    assert _native.is_native(read)
    assert await read == "text"
    with pytest.raises(RateLimited) as refused:
        await fs.read_text(tmp_path / "file").under(keyed)
    assert (refused.value.effect, refused.value.attempt) == ("fs.read_text", 1)
    assert refused.value.policy == repr(keyed)
    with pytest.raises(FileNotFoundError):
        await fs.read_text(tmp_path / "other").under(keyed)


async def test_natively_it_is_refused_and_given_up_as_inline() -> None:
    limit = RateLimit(1, per=LONG)
    await limit.acquire()
    with Watch() as watch:
        with pytest.raises(RateLimited):
            await _native.trial_noop().under(Timeout(LONG / 2), limit)
        task = asyncio.create_task(_native.trial_noop().under(limit))
        while not limit._rates.waiting:
            await asyncio.sleep(0.001)  # it gets there on a worker: there is nothing to wait on
        task.cancel()
        await asyncio.wait([task])
        while limit._rates.waiting:
            await asyncio.sleep(0.001)  # likewise
    assert task.cancelled()
    assert watch.took < AT_ONCE


async def test_submitted_and_gathered_it_holds() -> None:
    starts = Starts()
    limit = RateLimit(2, per=PER)
    call = effect(limit)(starts)
    begun = time.monotonic()
    async with Runtime() as runtime:
        inline = [runtime.submit(call()) for _ in range(3)]
        native = [runtime.submit(_native.trial_noop(n).under(limit)) for n in range(3)]
        assert [await handle for handle in inline] == [1, 1, 1]
        assert [await handle for handle in native] == [0, 1, 2]
    assert time.monotonic() - begun >= PER * 2 - HELD_UP
    begun = time.monotonic()
    assert await gather(call(), _native.trial_noop(5).under(limit), call()) == (1, 5, 1)
    assert await gather([_native.trial_noop(n).under(limit) for n in range(3)]) == [0, 1, 2]
    assert time.monotonic() - begun >= PER * 2 - HELD_UP


# -- what it is ----------------------------------------------------------------------------------------------


async def test_it_stands_once_in_a_stack_and_is_compared_by_identity() -> None:
    limit = RateLimit(1, per=1)
    assert limit != RateLimit(1, per=1)
    assert len({limit, RateLimit(1, per=1)}) == 2
    with pytest.raises(ConfigError, match="twice"):
        effect(limit, Timeout(1), limit)(asyncio.sleep)
    work = effect(limit)(asyncio.sleep)(0)
    with pytest.raises(ConfigError, match="twice"):
        work.under(limit)
    await work


async def test_a_key_needs_the_arguments_of_a_call() -> None:
    for limit in (RateLimit(1, per=1, key=lambda *_: 1), RateLimit(1, per=1, cost=lambda *_: 1)):
        work = gather(_native.trial_noop(1), _native.trial_noop(2))
        with pytest.raises(ConfigError, match="arguments"):
            work.under(limit)
        assert await work == (1, 2)


async def test_wall_clock_time_is_nothing_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """L6: a new setting of the machine's clock changes no rate."""
    limit = RateLimit(1, per=LONG, max_wait=0)
    await limit.acquire()
    for hour in (3600, -3600):
        now = time.time() + hour
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=now: now)
            patch.setattr(time, "time_ns", lambda now=now: int(now * 1e9))
            refused = await outcome(limit.acquire())
        assert isinstance(refused, RateLimited)
        assert LONG - AT_ONCE < refused.retry_after <= LONG
