"""Retry: what is tried again, how often, and the error that is left in the end."""

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest

import mountain_runtime
from mountain_runtime import Retry, Timeout, constant, effect
from mountain_runtime.errors import Rejected, ShuttingDown, TimedOut

from .support import AT_ONCE, LONG, SOON, Boom, Calls, Crash, Stop, Watch, forever

NOW = constant(0)


async def test_attempts_are_counted_in_total() -> None:
    for attempts in (1, 2, 5):
        calls = Calls(Boom)
        with pytest.raises(Boom):
            await effect(Retry(on=Boom, attempts=attempts, backoff=NOW))(calls)()
        assert calls.count == attempts
    calls = Calls(Boom, Boom, then_value=True)
    assert await effect(Retry(on=Boom, backoff=NOW))(calls)() == 3


async def test_none_is_without_end() -> None:
    calls = Calls(*[Boom] * 500, then_value=True)
    assert await effect(Retry(on=Boom, attempts=None, backoff=NOW))(calls)() == 501


@pytest.mark.parametrize("on", [Boom, (KeyError, Boom), Exception], ids=lambda on: str(on).partition(" at 0x")[0])
async def test_subclasses_of_what_is_named_are_retried(on: Any) -> None:
    calls = Calls(Crash, then_value=True)
    assert await effect(Retry(on=on, backoff=NOW))(calls)() == 2


async def test_what_is_not_named_passes_unchanged() -> None:
    error = KeyError("k")
    calls = Calls(Boom, error)
    with pytest.raises(KeyError) as raised:
        await effect(Retry(on=Boom, attempts=9, backoff=NOW))(calls)()
    assert raised.value is error
    assert calls.count == 2


@pytest.mark.parametrize(
    ("error", "on"),
    [
        (asyncio.CancelledError, Exception),
        (asyncio.CancelledError, lambda _: True),
        (Stop, Exception),
        (Stop, lambda _: True),
        (GeneratorExit, lambda _: True),
        (MemoryError, Exception),
        (MemoryError, MemoryError),
        (MemoryError, lambda _: True),
        (RecursionError, RecursionError),
        (RecursionError, lambda _: True),
    ],
)
async def test_what_is_nobodys_to_repeat_is_never_retried(error: type[BaseException], on: Any) -> None:
    calls = Calls(error)

    async def caller() -> None:
        await effect(Retry(on=on, attempts=3, backoff=NOW))(calls)()

    with pytest.raises(error):
        await asyncio.create_task(caller())
    assert calls.count == 1


async def test_an_outside_cancel_is_never_retried() -> None:
    begun: list[int] = []

    @effect(Retry(on=lambda _: True, attempts=None, backoff=NOW))
    async def hangs() -> None:
        begun.append(1)
        await forever()

    task = asyncio.create_task(hangs())
    await asyncio.sleep(0)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert cancelled.value.args == ("enough",)
    assert begun == [1]


async def test_a_cancel_that_becomes_another_error_is_not_retried() -> None:
    calls: list[int] = []

    @effect(Retry(on=Boom, attempts=None, backoff=NOW))
    async def makes_a_boom_of_it() -> None:
        calls.append(1)
        try:
            await forever()
        except asyncio.CancelledError:
            raise Boom from None

    task = asyncio.create_task(makes_a_boom_of_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(Boom):
        await task
    assert calls == [1]


async def test_a_cancel_ends_the_wait() -> None:
    calls = Calls(Boom)
    task = asyncio.create_task(effect(Retry(on=Boom, backoff=constant(LONG)))(calls)())
    await asyncio.sleep(SOON)  # long enough to be in the wait
    with Watch() as watch:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert watch.took < AT_ONCE
    assert calls.count == 1


# -- timeouts inside, outside and beside ---------------------------------------------------------------------


async def test_a_limit_inside_need_not_be_named() -> None:
    calls: list[int] = []

    @effect(Retry(on=Boom, attempts=3, backoff=NOW), Timeout(SOON))
    async def hangs_once() -> str:
        calls.append(1)
        if len(calls) == 1:
            await forever()
        return "done"

    assert await hangs_once() == "done"
    assert calls == [1, 1]


async def test_a_limit_outside_ends_it() -> None:
    calls: list[int] = []

    @effect(Timeout(SOON), Retry(on=(Boom, TimeoutError), attempts=3, backoff=NOW))
    async def hangs() -> None:
        calls.append(1)
        await forever()

    with pytest.raises(TimedOut):
        await hangs()
    assert calls == [1]


@pytest.mark.parametrize(
    ("on", "attempts"), [(Boom, 1), (OSError, 3), (TimeoutError, 3), (TimedOut, 3), (FileNotFoundError, 1)]
)
async def test_the_limit_of_another_effect_has_to_be_named(on: Any, attempts: int) -> None:
    slow = effect(Timeout(SOON))(forever)
    calls: list[int] = []

    @effect(Retry(on=on, attempts=3, backoff=NOW))
    async def outer() -> None:
        calls.append(1)
        await slow()

    with pytest.raises(TimedOut) as ended:
        await outer()
    assert len(calls) == attempts
    assert ended.value.effect.endswith("forever")


async def test_an_exhausted_limit_inside_is_raised_with_its_attempts() -> None:
    with pytest.raises(TimedOut) as ended:
        await effect(Retry(on=Boom, attempts=2, backoff=NOW), Timeout(SOON))(forever)()
    assert ended.value.attempt == 2
    assert any("2" in note and "attempt" in note for note in ended.value.__notes__)


# -- Rejected ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "error", "attempts"),
    [
        (Exception, Rejected("full"), 1),
        (Exception, ShuttingDown("stop"), 1),
        ((Exception, KeyError), Rejected("full"), 1),
        (Rejected, Rejected("full"), 3),
        (Rejected, ShuttingDown("stop"), 3),
        (ShuttingDown, ShuttingDown("stop"), 3),
        (ShuttingDown, Rejected("full"), 1),
        ((Exception, Rejected), Rejected("full"), 3),
        (lambda _: True, Rejected("full"), 3),
        (lambda _: False, Rejected("full"), 1),
    ],
    ids=lambda on: str(on).partition(" at 0x")[0],
)
async def test_a_rejection_is_retried_only_when_it_is_named(on: Any, error: Exception, attempts: int) -> None:
    calls = Calls(error)
    with pytest.raises(Rejected) as rejected:
        await effect(Retry(on=on, attempts=3, backoff=NOW))(calls)()
    assert rejected.value is error
    assert calls.count == attempts


# -- the last error ------------------------------------------------------------------------------------------

PACKAGE = str(Path(mountain_runtime.__file__).parent)


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))


async def fails_deeply(error: Exception) -> None:
    await fails_deeper(error)


async def fails_deeper(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("same", [False, True], ids=["new", "the same"])
async def test_the_last_error_has_the_attempts_noted_and_the_users_frames_on_top(same: bool) -> None:
    """A traceback that grew with each attempt would hold every frame of every attempt."""
    raised: list[Exception] = []
    one = Boom("the same each time")

    @effect(Retry(on=Boom, attempts=50, backoff=NOW))
    async def fails() -> None:
        raised.append(one if same else Boom("new"))
        await fails_deeply(raised[-1])

    with pytest.raises(Boom) as ended:
        await fails()
    error = ended.value
    assert error is raised[-1]
    assert len(raised) == 50
    assert [note for note in error.__notes__ if "50" in note and "attempt" in note] == error.__notes__
    assert len(error.__notes__) == 1
    found = frames(error)
    assert [frame.name for frame in found[-3:]] == ["fails", "fails_deeply", "fails_deeper"]
    assert len(found) == 4  # this test's own, and those three
    assert not [frame for frame in found if frame.filename.startswith(PACKAGE)]


async def test_one_error_object_for_many_calls_does_not_grow() -> None:
    same = Boom("a constant of somebody's module")
    lengths = []
    for _ in range(20):
        with pytest.raises(Boom):
            await effect(Retry(on=Boom, attempts=3, backoff=NOW))(fails_deeply)(same)
        lengths.append((len(frames(same)), len(same.__notes__)))
        same.__traceback__ = None
    assert lengths[-1] == lengths[0]


async def test_a_failure_that_is_not_retried_is_not_annotated() -> None:
    error = KeyError("k")
    with pytest.raises(KeyError):
        await effect(Retry(on=Boom, backoff=NOW))(Calls(error))()
    assert not hasattr(error, "__notes__")


async def test_concurrent_calls_of_one_policy_count_for_themselves() -> None:
    """T9."""
    policy = Retry(on=Boom, attempts=3, backoff=constant(0.001))

    @effect(policy)
    async def fails(log: list[int]) -> None:
        log.append(len(log) + 1)
        await asyncio.sleep(0)
        raise Boom

    logs: list[list[int]] = [[] for _ in range(50)]
    found = await asyncio.gather(*map(fails, logs), return_exceptions=True)
    assert {type(error) for error in found} == {Boom}
    assert logs == [[1, 2, 3]] * 50


async def test_nested_retries_multiply() -> None:
    calls = Calls(Boom)
    with pytest.raises(Boom):
        await effect(Retry(on=Boom, attempts=3, backoff=NOW), Retry(on=Boom, attempts=2, backoff=NOW))(calls)()
    assert calls.count == 6
