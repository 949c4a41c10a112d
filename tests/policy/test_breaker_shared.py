"""CircuitBreaker, shared: by keys, functions, event loops and threads; and native work under it."""

import asyncio
import errno
import gc
import threading
from typing import Any

import pytest

from mountain_runtime import Cache, CircuitBreaker, Fallback, Retry, Runtime, Timeout, _native, constant, effect, gather
from mountain_runtime.errors import CircuitOpen, ConfigError, TimedOut
from mountain_runtime.testing import VirtualClock
from tests.conftest import LoopFactory

from .support import AT_ONCE, LONG, SOON, Boom, Watch, forever, outcome

virtual = pytest.mark.asyncio(loop_factories=["asyncio"])


async def fails(*_: object) -> None:
    raise Boom


# -- keys ----------------------------------------------------------------------------------------------------


async def test_each_key_has_a_state_of_its_own_however_the_call_is_written() -> None:
    breaker = CircuitBreaker(failures=2, key=lambda host, *_, **__: host)

    @effect(breaker)
    async def get(host: str, path: str = "/") -> str:
        if host == "bad":
            raise Boom
        return host

    await outcome(get("bad"))
    await outcome(get(host="bad", path="/x"))
    for again in (get("bad"), get(host="bad"), get("bad", "/y")):
        assert isinstance(await outcome(again), CircuitOpen)
    assert await get("good") == "good"
    assert {key: breaker.state(key) for key in ("bad", "good", "never seen")} == {
        "bad": "open",
        "good": "closed",
        "never seen": "closed",
    }
    breaker.isolate("good")
    assert isinstance(await outcome(get("good")), CircuitOpen)
    breaker.reset("bad")
    assert isinstance(await outcome(get("bad")), Boom)
    breaker.reset(key="good")
    assert await get("good") == "good"


@virtual
async def test_keys_at_rest_are_forgotten(virtual_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(failures=2, window=60, cooldown=600, key=lambda key: key)
    bad = effect(breaker)(fails)
    for n in range(1000):
        await outcome(bad(n))
    assert breaker._circuit.keys == 1000  # each has a failure that may be the first of two
    for _ in range(2):
        await outcome(bad("bad"))
    breaker.isolate("isolated")
    await virtual_clock.advance(540)
    assert (breaker.state("bad"), breaker.state("isolated"), breaker._circuit.keys) == ("open", "isolated", 1002)
    await virtual_clock.advance(130)  # an opening by the second failure would be over by now
    assert (breaker.state("bad"), breaker.state("isolated"), breaker._circuit.keys) == ("half_open", "isolated", 2)
    breaker.reset("bad")
    breaker.reset("isolated")
    await virtual_clock.advance(1000)
    assert breaker._circuit.keys == 0


def test_a_key_that_refers_to_its_breaker_is_collected() -> None:
    class Owner:
        breaker: Any

    async def main() -> None:
        owner = Owner()
        owner.breaker = CircuitBreaker(failures=5, key=lambda key: key)
        await outcome(effect(owner.breaker)(fails)(owner))

    asyncio.run(main())
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Owner)]


# -- loops and threads ---------------------------------------------------------------------------------------


def test_one_breaker_in_many_loops(new_loop: LoopFactory) -> None:
    """L4: failures in a loop that is gone count with those of threads, and all of them see that it is open."""
    breaker = CircuitBreaker(failures=4)
    call = effect(breaker)(fails)
    found: list[Any] = []

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            found.append(runner.run(outcome(call())))

    def threads(n: int) -> None:
        running = [threading.Thread(target=run) for _ in range(n)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    run()
    run()
    threads(2)
    assert [type(each) for each in found] == [Boom] * 4
    assert breaker.state() == "open"
    found.clear()
    run()
    threads(2)
    assert [type(each) for each in found] == [CircuitOpen] * 3


def test_a_loop_that_is_closed_frees_the_slots_of_its_probes(new_loop: LoopFactory, complaints: list[str]) -> None:
    breaker = CircuitBreaker(failures=1, cooldown=0)
    waits = effect(breaker)(forever)

    async def begin() -> Any:
        await outcome(effect(breaker)(fails)())
        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        assert isinstance(await outcome(waits()), CircuitOpen)
        return task

    loop = new_loop()
    kept = loop.run_until_complete(begin())
    loop.close()
    kept._log_destroy_pending = False  # it is left behind on purpose
    del kept
    gc.collect()
    assert breaker.state() == "half_open"
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(effect(breaker)(asyncio.sleep)(0), LONG))
    assert breaker.state() == "closed"
    assert complaints == []


# -- native work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "native"),
    [
        (Exception, True),
        (OSError, True),
        ((FileNotFoundError, PermissionError), True),
        (ValueError, False),
        ((OSError, Boom), True),  # of what native work fails with, that is all
        ((FileNotFoundError, Boom), False),
    ],
    ids=str,
)
async def test_native_work_stays_native_where_on_names_errors_of_the_system(on: Any, native: bool) -> None:
    breaker = CircuitBreaker(failures=2, on=on)
    work = _native.trial_noop(3).under(breaker)
    assert _native.is_native(work) == native
    assert await work == 3


@pytest.mark.parametrize("on", [Exception, OSError, FileNotFoundError, (FileNotFoundError, Boom)], ids=str)
async def test_native_failures_count_by_class(on: Any) -> None:
    breaker = CircuitBreaker(failures=2, on=on)
    for _ in range(2):
        assert breaker.state() == "closed"
        assert isinstance(await outcome(_native.trial_fail(errno.ENOENT).under(breaker)), FileNotFoundError)
    assert breaker.state() == "open"
    refused = await outcome(_native.trial_fail(errno.ENOENT).under(breaker))
    assert isinstance(refused, CircuitOpen)
    assert (refused.effect, refused.policy, refused.attempt) == ("fail", repr(breaker), 1)


@pytest.mark.parametrize("on", [PermissionError, (ConnectionError, Boom), ValueError], ids=str)
async def test_native_failures_of_other_classes_are_nothing(on: Any) -> None:
    breaker = CircuitBreaker(failures=1, on=on)
    for _ in range(3):
        assert isinstance(await outcome(_native.trial_fail(errno.ENOENT).under(breaker)), FileNotFoundError)
    assert breaker.state() == "closed"


async def test_natively_timeouts_count_and_cancels_do_not() -> None:
    breaker = CircuitBreaker(failures=2)
    for _ in range(5):
        task = asyncio.create_task(_native.trial_sleep(LONG).under(breaker))
        await asyncio.sleep(0.002)  # so that it is under way on its worker
        task.cancel()
        await asyncio.wait([task])
    assert isinstance(await outcome(_native.trial_sleep(LONG).under(breaker, Timeout(SOON))), TimedOut)
    assert breaker.state() == "closed"
    assert isinstance(await outcome(_native.trial_sleep(LONG).under(Timeout(SOON), breaker)), TimedOut)
    assert breaker.state() == "open"


async def test_natively_a_retry_outside_ends_when_it_opens() -> None:
    breaker = CircuitBreaker(failures=2)
    again = Retry(on=OSError, attempts=10, backoff=constant(0))
    refused = await outcome(_native.trial_fail(errno.ENOENT).under(again, breaker))
    assert isinstance(refused, CircuitOpen)
    assert refused.attempt == 3


async def test_submitted_and_gathered_it_counts() -> None:
    breaker = CircuitBreaker(failures=6)
    call = effect(breaker)(fails)
    async with Runtime() as runtime:
        handles = [runtime.submit(call()), runtime.submit(_native.trial_fail(errno.ENOENT).under(breaker))]
        assert [type(await outcome(handle)) for handle in handles] == [Boom, FileNotFoundError]
    for work in (gather(call(), _native.trial_noop()), gather([_native.trial_fail(errno.ENOENT).under(breaker)])):
        await outcome(work)
    assert breaker.state() == "closed"
    await outcome(call())
    await outcome(call())
    assert breaker.state() == "open"
    with Watch() as watch:
        assert isinstance(await outcome(gather(_native.trial_sleep(LONG), call())), CircuitOpen)
    assert watch.took < AT_ONCE


# -- in a stack ----------------------------------------------------------------------------------------------


async def test_what_stands_outside_can_stand_in_for_its_refusal_and_what_stands_inside_can_not() -> None:
    breaker = CircuitBreaker(failures=1)
    await outcome(effect(breaker)(fails)())
    instead = Fallback(lambda _: "instead", on=(Boom, CircuitOpen))
    assert await effect(instead, breaker)(fails)() == "instead"
    seen: list[Exception] = []
    for inside in (instead, Retry(on=lambda error: not seen.append(error), attempts=3), Cache(ttl=1)):
        assert isinstance(await outcome(effect(breaker, inside)(fails)()), CircuitOpen)
    assert not seen


async def test_around_a_cache_it_counts_what_the_cache_calls() -> None:
    breaker = CircuitBreaker(failures=2)
    calls = 0

    @effect(breaker, Cache(ttl=LONG))
    async def get(key: int) -> int:
        nonlocal calls
        calls += 1
        if key < 0:
            raise Boom
        return key

    assert await get(1) == 1
    found = await asyncio.gather(*[outcome(get(-1)) for _ in range(10)])
    assert ([type(each) for each in found], calls) == ([Boom] * 10, 2)
    assert breaker.state() == "closed"  # one call, however many waited for it
    assert isinstance(await outcome(get(-2)), Boom)
    assert breaker.state() == "open"
    assert isinstance(await outcome(get(3)), CircuitOpen)
    assert isinstance(await outcome(get(1)), CircuitOpen)  # it stands outside
    assert calls == 3


async def test_it_stands_once_in_a_stack() -> None:
    breaker = CircuitBreaker()
    with pytest.raises(ConfigError, match="twice"):
        effect(breaker, Timeout(1), breaker)(asyncio.sleep)
    keyed = CircuitBreaker(key=lambda *_: 1)
    work = gather(_native.trial_noop(1), _native.trial_noop(2))
    with pytest.raises(ConfigError, match="arguments"):
        work.under(keyed)
    assert await work == (1, 2)
