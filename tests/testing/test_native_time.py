"""Native work under virtual time: its waits are jumped, what it does is waited for, the order is always the same."""

import asyncio
import contextlib
import errno
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mountain_runtime import Effect, Retry, Runtime, Timeout, _native, constant, effect, exponential, fs, gather, race
from mountain_runtime.errors import TimedOut
from mountain_runtime.testing import VirtualClock

from .support import NO_TIME, Failing, Log, Real


@pytest.fixture(autouse=True)
async def nobody_is_left_at_work() -> AsyncIterator[None]:
    yield
    assert _native.at_work() == 0


async def test_native_waits_are_jumped(virtual_clock: VirtualClock) -> None:
    with Real() as real:
        await _native.trial_sleep(3600)
        assert virtual_clock.time() == 3600.0
        with pytest.raises(TimedOut):
            await _native.trial_sleep(3600).under(Timeout(5))
        assert virtual_clock.time() == 3605.0
        await gather(_native.trial_sleep(10), _native.trial_sleep(20), _native.trial_sleep(15))
        assert virtual_clock.time() == 3625.0
        await race(_native.trial_sleep(10), _native.trial_sleep(20))
        assert virtual_clock.time() == 3635.0
        waits = Retry(on=OSError, attempts=4, backoff=exponential(1, max=60, jitter="none"))
        failing = _native.trial_fail(errno.EAGAIN).under(waits)
        assert _native.is_native(failing)
        with pytest.raises(BlockingIOError):
            await failing
        assert virtual_clock.time() == 3642.0
        with pytest.raises(BrokenPipeError):
            await _native.trial_fail(errno.EPIPE).under(
                Timeout(5), Retry(on=OSError, attempts=None, backoff=constant(2))
            )
        assert virtual_clock.time() == 3646.0
    assert real.took < NO_TIME


async def test_an_hour_of_native_retries_takes_no_time(virtual_clock: VirtualClock) -> None:
    failing = _native.trial_fail(errno.EAGAIN).under(Retry(on=OSError, attempts=3601, backoff=constant(1)))
    assert _native.is_native(failing)
    with Real() as real, pytest.raises(BlockingIOError):
        await failing
    assert real.took < NO_TIME
    assert virtual_clock.time() == 3600.0


async def test_what_native_work_does_is_waited_for(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x" * 100_000)
    paths = sorted(tmp_path.iterdir())
    soon = asyncio.create_task(asyncio.sleep(0.001))
    for _ in range(20):
        assert len(await fs.read_many(paths).under(Timeout(0.01))) == 20
        await fs.hash(paths[0]).under(Timeout(0.01))
        await gather(*(fs.read_bytes(path).under(Timeout(0.01), Retry(on=OSError)) for path in paths))
        assert len([entry async for entry in fs.walk(tmp_path)]) == 20
        await asyncio.sleep(0)
    assert virtual_clock.time() == 0.0
    assert not soon.done()
    missing = fs.read_bytes(tmp_path / "missing").under(Retry(on=OSError, attempts=100, backoff=constant(60)))
    with pytest.raises(FileNotFoundError):
        await missing
    assert virtual_clock.time() == 99 * 60.0


async def test_native_work_that_hangs_holds_time_until_it_is_overtaken(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(fs.read_bytes(pipe).under(Timeout(5)))
    await virtual_clock.advance(4.5)
    assert not reading.done()
    with Real() as real:
        await virtual_clock.advance(1)
    assert 0.4 < real.took < 0.4 + NO_TIME
    with pytest.raises(TimedOut):
        await reading
    await asyncio.sleep(100)  # no call waits for the pipe any more
    assert virtual_clock.time() == 105.5
    with contextlib.suppress(OSError):  # its thread goes home, if it has not
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


async def test_workers_of_a_runtimes_own_are_waited_for_and_forgotten_with_it(virtual_clock: VirtualClock) -> None:
    for workers in (1, 3):
        async with Runtime(workers=workers) as rt:
            retried = _native.trial_fail(errno.EAGAIN).under(Retry(on=OSError, attempts=11, backoff=constant(1)))
            handles = [rt.submit(retried) for _ in range(10)]
            handles += [rt.submit(_native.trial_sleep(10)) for _ in range(10)]
            await asyncio.wait(handles)
            assert all(isinstance(handle.exception(), BlockingIOError) for handle in handles[:10])
        await _native.trial_sleep(5)
    assert virtual_clock.time() == 30.0


#: A native wait, asyncio's own, and one that stands under a limit.
WAYS: list[Callable[[float], Awaitable[object]]] = [
    _native.trial_sleep,
    asyncio.sleep,
    effect(Timeout(60))(asyncio.sleep),
]


async def scene(clock: VirtualClock, seed: int) -> Log:
    """Waits of every kind that end at different times, each of them woken again and again on the way."""
    choose = random.Random(seed)
    log = Log(clock)

    async def chain(number: int, waits: list[float]) -> None:
        for step, wait in enumerate(waits):
            await asyncio.sleep(wait)
            await _native.trial_noop()
            log.add(("chain", number, step))

    def once(number: int) -> Effect[None]:
        every = 0.1 + number * 0.001
        failing = _native.trial_fail(errno.EAGAIN).under(
            Timeout(3600), Retry(on=OSError, attempts=8, backoff=constant(every))
        )
        return failing.attempt(OSError).map(lambda _: None)

    work = []
    for number in range(8):
        work += [
            log.start(("native", number), once(number)),
            log.start(("nap", number), _native.trial_sleep(choose.randrange(10**6) / 1e6).under(Timeout(60))),
            log.start(("limit", number), _native.trial_sleep(60).under(Timeout(choose.random())).attempt(TimedOut)),
            log.start(
                ("inline", number), Retry(on=ConnectionError, backoff=constant(choose.random())).call(Failing(2))
            ),
            log.start(("sleep", number), asyncio.sleep(choose.random())),
            asyncio.create_task(chain(number, [choose.random() / 4 for _ in range(4)])),
        ]
    choose.shuffle(work)
    await asyncio.gather(*work)
    return log


async def test_the_order_is_always_the_same(virtual_clock: VirtualClock) -> None:
    first: Log | None = None
    begun = 0.0
    for _ in range(150 if asyncio.get_running_loop().get_debug() is False else 20):
        begun = virtual_clock.time()
        log = await scene(virtual_clock, seed=1)
        assert all(earlier <= later for (earlier, _), (later, _) in itertools.pairwise(log))
        happened = Log(virtual_clock)
        happened.extend((round(at - begun, 6), what) for at, what in log)
        first = first or happened
        assert happened == first
    assert first is not None
    assert len(first) == 8 * 9


async def test_at_one_instant_the_engines_waits_end_before_the_loops(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)
    again = Retry(on=OSError, attempts=2, backoff=constant(1))
    for _ in range(200):
        del log[:]
        work = [
            log.start("sleep", asyncio.sleep(1)),
            log.start("nap", _native.trial_sleep(1)),
            log.start("inline", again.call(Failing(1))),
            log.start("native", _native.trial_fail(errno.EAGAIN).under(again).attempt(OSError)),
        ]
        await asyncio.wait(work)
        assert [what for _, what in log][-1] == "sleep"
        assert len({at for at, _ in log}) == 1


async def test_advance_mixes_native_and_other_waits_in_order(virtual_clock: VirtualClock) -> None:
    log = Log(virtual_clock)
    for number in range(1, 100):
        wait = (number * 37 % 100) / 10
        log.start(wait, WAYS[number % 3](wait))
    await virtual_clock.advance(5)
    assert log == [(wait / 10, wait / 10) for wait in range(1, 51)]
    assert virtual_clock.time() == 5.0
    await virtual_clock.advance(5)
    assert log == [(wait / 10, wait / 10) for wait in range(1, 100)]
