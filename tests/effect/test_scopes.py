"""Other people's scopes of cancellation, inside and outside of an effect: anyio, TaskGroup, wait_for, shield."""

import asyncio

import anyio
import pytest

from mountain_runtime import Retry, Timeout, constant, effect
from mountain_runtime._native import trial_sleep as sleep
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, cancelling, forever, value

SAME = 0.005


async def slow() -> None:
    await asyncio.sleep(LONG)


async def failing() -> None:
    raise Boom


@pytest.mark.parametrize("wrapped", ["leaf", "parked", "native"])
async def test_anyio_scope_around(wrapped: str) -> None:
    match wrapped:
        case "leaf":
            work = effect(Retry(on=Boom), Timeout(LONG))(slow)()
        case "parked":
            work = effect(Retry(on=Boom, attempts=2, backoff=constant(LONG)))(failing)()
        case _:
            work = sleep(LONG)
    with anyio.move_on_after(SOON) as scope:
        await work
    assert scope.cancelled_caught
    assert cancelling() == 0
    assert await effect(value)(3) == 3


async def test_anyio_scope_around_and_our_limit_at_the_same_time() -> None:
    for _ in range(30):
        with anyio.move_on_after(SAME):
            try:
                await effect(Timeout(SAME))(slow)()
            except TimedOut:
                pass
        assert cancelling() == 0
        await asyncio.sleep(0)  # a cancel that was left over would come out here


async def test_anyio_inside() -> None:
    @effect(Timeout(SOON * 2))
    async def leaf() -> None:
        with anyio.move_on_after(SOON / 2) as scope:
            await anyio.sleep(LONG)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, LONG)
            group.start_soon(anyio.sleep, LONG)

    with pytest.raises(TimedOut):
        await leaf()
    assert cancelling() == 0


async def test_anyio_shield_inside_holds_against_anyio_and_yields_to_ours() -> None:
    """A shield is one against anyio's scopes: a limit of ours asks the task itself, as `asyncio.timeout` does."""
    log: list[str] = []

    async def shielded(name: str) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(SOON * 2)
            log.append(name)

    with anyio.move_on_after(SOON):
        await effect(Timeout(LONG))(shielded)("anyio")
    assert log == ["anyio"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await shielded("asyncio")
    with pytest.raises(TimedOut):
        await effect(Timeout(SOON))(shielded)("ours")
    assert log == ["anyio"]
    assert cancelling() == 0


async def test_anyio_task_group_of_effects_is_cancelled_by_a_failure() -> None:
    log: list[str] = []

    @effect(Timeout(LONG))
    async def waits() -> None:
        try:
            await forever()
        finally:
            log.append("cleaned")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Boom

    async def run(work: object) -> None:
        await work  # type: ignore[misc]

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(run, waits())
            group.start_soon(run, effect(fails)())
    assert caught.value.subgroup(Boom) is not None
    assert log == ["cleaned"]


async def test_task_group_takes_effects_as_coroutines() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(effect(Timeout(LONG))(value)(i)) for i in range(5)]
        tasks.append(group.create_task(sleep(0).map(lambda _: 5)))
    assert [task.result() for task in tasks] == list(range(6))


async def test_task_group_cancels_effects() -> None:
    log: list[str] = []

    @effect(Retry(on=Exception), Timeout(LONG))
    async def waits() -> None:
        try:
            await forever()
        finally:
            log.append("cleaned")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Boom

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(sleep(LONG))
            group.create_task(effect(fails)())
    assert log == ["cleaned"]


async def test_a_task_group_inside_that_fails_is_retried_as_any_failure() -> None:
    runs = 0

    @effect(Retry(on=ExceptionGroup, attempts=3, backoff=constant(0)))
    async def leaf() -> int:
        nonlocal runs
        runs += 1
        if runs < 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing())
                await forever()
        return runs

    assert await leaf() == 3


async def test_wait_for_around() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(effect(Timeout(LONG))(slow)(), SOON)
    assert cancelling() == 0


async def test_shield_around_lets_the_effect_go_on() -> None:
    log: list[str] = []
    go = asyncio.Event()

    @effect(Timeout(LONG))
    async def writes() -> None:
        await go.wait()
        log.append("written")

    inner = asyncio.ensure_future(writes())

    async def caller() -> None:
        await asyncio.shield(inner)

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await inner
    assert log == ["written"]


async def test_run_in_asyncio_timeout_it_is_the_outer_error() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SOON):
            await effect(Retry(on=Exception, attempts=9), Timeout(LONG))(slow)()
    assert not isinstance(caught.value, TimedOut)
