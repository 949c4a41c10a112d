"""map, then, attempt, under: effects made of one effect."""

import asyncio
import errno
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Effect, Err, Ok, Pipeline, Retry, Timeout, constant, effect
from mountain_runtime._native import is_native
from mountain_runtime._native import trial_fail as fail
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import ConfigError, TimedOut

from .support import LONG, SOON, Boom, cancelling, forever, ticks, value

#: The same value, once made by Python and once wholly native.
BOTH = pytest.mark.parametrize("make", [effect(value), noop], ids=["python", "native"])
Make = Callable[[int], Effect[int]]


async def broken() -> int:
    raise Boom


@BOTH
async def test_map(make: Make) -> None:
    assert await make(3).map(lambda n: n + 1).map(str) == "4"


@BOTH
async def test_map_that_raises(make: Make) -> None:
    def bad(_: int) -> int:
        raise Boom

    with pytest.raises(Boom):
        await make(3).map(bad)
    called: list[object] = []
    with pytest.raises(Boom):
        await effect(broken)().map(called.append)
    assert not called


@BOTH
async def test_then(make: Make) -> None:
    assert await make(3).then(lambda n: make(n * 2)).then(lambda n: noop(n + 1)) == 7
    with pytest.raises(TypeError, match="map"):
        await make(3).then(lambda n: n)  # type: ignore[arg-type, return-value]


@BOTH
async def test_attempt(make: Make) -> None:
    assert await make(3).attempt(Boom) == Ok(3)
    error = Boom()

    async def raises() -> int:
        raise error

    assert await effect(raises)().attempt(KeyError, Boom) == Err(error)
    with pytest.raises(Boom):
        await effect(raises)().attempt(KeyError)
    match await fail(errno.ENOENT).attempt(OSError):
        case Err(FileNotFoundError() as found):
            assert found.errno == errno.ENOENT
        case other:
            pytest.fail(repr(other))


async def test_attempt_of_what_ran_out_of_time() -> None:
    """TimedOut is a TimeoutError and so an OSError."""
    for classes in ((TimedOut,), (TimeoutError,), (OSError,)):
        for slow in (effect(Timeout(SOON))(forever)(), sleep(LONG).under(Timeout(SOON))):
            match await slow.attempt(*classes):
                case Err(TimedOut()):
                    pass
                case other:
                    pytest.fail(repr(other))


async def test_attempt_lets_cancels_through() -> None:
    task = asyncio.ensure_future(effect(forever)().attempt(Exception))
    await ticks()
    task.cancel("now")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_under_goes_around_what_is_there() -> None:
    @effect(Timeout(LONG))
    async def leaf() -> int:
        return 1

    work = leaf().under(Retry(on=Boom), Timeout(5)).under(Timeout(9))
    assert repr(work) == f"<Effect leaf().under(Timeout(9), {Retry(on=Boom)!r}, Timeout(5))>"
    assert await work == 1


async def test_under_leaves_the_effect_as_it_was() -> None:
    work = effect(forever)()
    with pytest.raises(TimedOut):
        await work.under(Timeout(SOON))
    assert "Timeout" not in repr(work)


async def test_a_pipeline_is_a_policy() -> None:
    both = Pipeline(Retry(on=Boom, attempts=2, backoff=constant(0)), Timeout(SOON), name="both")
    runs = 0

    async def leaf() -> None:
        nonlocal runs
        runs += 1
        await forever()

    with pytest.raises(TimedOut):
        await both.call(leaf)
    assert runs == 2
    with pytest.raises(ConfigError):
        Pipeline(object(), name="no")  # type: ignore[arg-type]
    work = effect(value)(1)
    with pytest.raises(ConfigError):
        work.under(3)  # type: ignore[arg-type, unused-awaitable]
    assert await work == 1


async def test_a_native_effect_stays_native_as_long_as_it_can() -> None:
    work = noop(3)
    native = [
        work,
        work.under(Timeout(1), Retry(on=OSError)),
        work.under(Retry(on=(FileNotFoundError, ConnectionError))),
    ]
    python = [work.under(Retry(on=Boom)), work.under(Retry(on=lambda _: True)), work.map(abs)]
    assert [is_native(each) for each in native] == [True] * 3
    assert [is_native(each) for each in python] == [False] * 3
    assert [await each for each in native + python] == [3] * 6


async def test_native_retry_and_its_note() -> None:
    for on in (OSError, lambda error: isinstance(error, OSError)):
        work: Effect[None] = fail(errno.ECONNRESET).under(Retry(on=on, attempts=3, backoff=constant(0)))
        with pytest.raises(ConnectionResetError) as caught:
            await work
        assert any("3" in note for note in caught.value.__notes__)


async def test_native_work_judged_by_python_is_ended_by_its_limit() -> None:
    work = sleep(LONG).under(Timeout(LONG), Retry(on=Boom), Timeout(SOON))
    assert not is_native(work)
    with pytest.raises(TimedOut):
        await work
    assert cancelling() == 0


async def test_fifty_calls_at_once_count_their_own_attempts() -> None:
    """T9: what a policy counts belongs to the call."""
    shared = Retry(on=Boom, attempts=3, backoff=constant(0.001))
    seen: dict[int, list[int]] = {}

    @effect(shared)
    async def leaf(call: int) -> int:
        mine = seen.setdefault(call, [])
        mine.append(len(mine) + 1)
        await asyncio.sleep(0)
        if len(mine) < 3:
            raise Boom
        return call

    assert await asyncio.gather(*(leaf(call) for call in range(50))) == list(range(50))
    assert list(seen.values()) == [[1, 2, 3]] * 50


async def test_the_same_value_awaited_many_times_at_once() -> None:
    runs = 0

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0)), Timeout(LONG))
    async def leaf() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        return runs

    work = leaf()

    async def wait() -> Any:
        return await work

    assert sorted(await asyncio.gather(*(wait() for _ in range(20)))) == [20] * 20
    assert runs == 20


def test_the_same_work_under_the_same_policies_again_has_the_plan_that_was_made() -> None:
    """Unless a policy holds a function of the user's, which may hold anything."""

    class Held:
        pass

    limit = ConcurrencyLimit(1)
    first, second = (noop(n).under(limit, Timeout(1)) for n in range(2))
    assert repr(first) == repr(second)
    other = noop().under(limit, Timeout(2))
    assert "Timeout(2)" in repr(other)
    assert "Timeout(1)" in repr(first)
    held = Held()
    ref = weakref.ref(held)
    asks = noop().under(Retry(on=lambda e, held=held: held is e))  # type: ignore[misc]
    for each in (first, second, other, asks):
        each.close()
    del held, asks, each
    gc.collect()
    assert ref() is None
