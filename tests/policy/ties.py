"""Cancels in the very tick in which something else ends the wait. The stress tests run the same rounds more often."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from mountain_runtime import Retry, Timeout, _native, constant, effect
from mountain_runtime.errors import TimedOut

from .support import LONG, Boom, forever

Round = Callable[[random.Random], Awaitable[None]]


def must_be_cancelled(task: "asyncio.Task[Any]") -> None:
    assert task.cancelled(), f"a cancel that was accepted was lost: {task!r}"


async def completion(dice: random.Random) -> None:
    """The awaited work ends and the task is cancelled, in either order, before the task takes its step."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @effect(Timeout(LONG), Retry(on=Boom, attempts=None, backoff=constant(0)))
    async def waits() -> int:
        return await future

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    cancel_first = dice.random() < 0.5
    if cancel_first:
        task.cancel()
    if not future.done():
        if dice.random() < 0.5:
            future.set_result(1)
        else:
            future.set_exception(Boom())
            future.exception()  # seen
    if not cancel_first:
        task.cancel()
    await asyncio.wait([task])
    must_be_cancelled(task)


async def timeout(dice: random.Random) -> None:
    """The limit passes and the task is cancelled at about the same time: an accepted cancel is never a TimedOut."""
    limit = dice.uniform(0, 0.0004)
    task = asyncio.create_task(effect(Timeout(limit))(forever)())
    accepted = False

    def cancel() -> None:
        nonlocal accepted
        accepted = task.cancel()

    asyncio.get_running_loop().call_later(limit + dice.uniform(-0.0002, 0.0002), cancel)
    await asyncio.wait([task])
    if accepted:
        must_be_cancelled(task)
    else:
        assert isinstance(task.exception(), TimedOut)


async def native(dice: random.Random) -> None:
    """The same for native work."""
    time = dice.uniform(0, 0.0004)
    work = _native.trial_sleep(time if dice.random() < 0.5 else LONG).under(
        Timeout(time), Retry(on=OSError, attempts=1)
    )
    task = asyncio.create_task(work)
    accepted = False

    def cancel() -> None:
        nonlocal accepted
        accepted = task.cancel()

    asyncio.get_running_loop().call_later(time + dice.uniform(-0.0002, 0.0002), cancel)
    await asyncio.wait([task])
    if accepted:
        must_be_cancelled(task)
    else:
        assert not task.cancelled()


async def at_once_on_a_cancelled_task(_: random.Random) -> None:
    """`Timeout(0)` in a task that was cancelled already: the cancel came first."""

    async def cancelled_already() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("first")
        await effect(Timeout(0))(forever)()

    task = asyncio.create_task(cancelled_already())
    await asyncio.wait([task])
    must_be_cancelled(task)


async def retry_wait(dice: random.Random) -> None:
    """A backoff ends and the task is cancelled at about the same time."""
    wait = dice.uniform(0, 0.0003)

    @effect(Timeout(LONG), Retry(on=Boom, attempts=2, backoff=constant(wait)))
    async def fails() -> None:
        raise Boom

    task = asyncio.create_task(fails())
    accepted = False

    def cancel() -> None:
        nonlocal accepted
        accepted = task.cancel()

    asyncio.get_running_loop().call_later(wait, cancel)
    await asyncio.wait([task])
    if accepted:
        must_be_cancelled(task)
    else:
        assert isinstance(task.exception(), Boom)


ROUNDS: dict[str, Round] = {
    "completion": completion,
    "timeout": timeout,
    "native": native,
    "at once": at_once_on_a_cancelled_task,
    "retry wait": retry_wait,
}


async def run(name: str, rounds: int, seed: int) -> None:
    """So many rounds, a few side by side, so that they fall together with one another's ticks too."""
    dice = random.Random(seed)
    before = _native.statistics()["timers"]  # the reminders of keys that others have used
    for _ in range(rounds // 20):
        await asyncio.gather(*[ROUNDS[name](dice) for _ in range(20)])
    assert _native.statistics()["timers"] <= before
