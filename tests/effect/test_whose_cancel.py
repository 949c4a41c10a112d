"""A cancel of ours and one from outside are told apart, also when they come at the same time."""

import asyncio
import time
from contextlib import suppress

import pytest

from mountain_runtime import Retry, Timeout, constant, deadline, effect
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, cancelling, forever, ticks

SAME = 0.003  # two limits that pass together
TIMES = 40


async def slow() -> str:
    await asyncio.sleep(LONG)
    return "value"


async def test_the_callers_cancel_keeps_its_message() -> None:
    seen: list[object] = []

    @effect(Retry(on=Exception, attempts=5, backoff=constant(0)), Timeout(LONG))
    async def leaf() -> None:
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = asyncio.ensure_future(leaf())
    await ticks()
    task.cancel("go home")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert seen == [("go home",)]
    assert caught.value.args == ("go home",)
    assert task.cancelled()


@pytest.mark.parametrize("limit", ["policy", "deadline"])
@pytest.mark.parametrize("when", ["before", "within", "with"])
async def test_a_limit_that_passes_beside_the_callers_cancel_leaves_it_its_message(limit: str, when: str) -> None:
    """Before it, in the cleanup that it began, or in the very step."""
    seconds = 30 * SAME if when == "within" else SAME  # within: a busy machine has cancelled before it passes

    async def leaf() -> None:
        task = asyncio.current_task()
        assert task
        if when == "with":
            time.sleep(2 * SAME)  # the limit has passed as the leaf suspends
            task.cancel("go home")
        try:
            if when == "before":
                await asyncio.sleep(LONG)
            else:
                await forever()
        finally:
            if when == "before":
                task.cancel("go home")
            await asyncio.sleep(2 * seconds)  # the limit passes in it, unless it has passed as the cancel came

    async def limited() -> None:
        if limit == "policy":
            await effect(Timeout(seconds))(leaf)()
        else:
            async with deadline(seconds):
                await leaf()

    task = asyncio.create_task(limited())
    if when == "within":
        await ticks()
        task.cancel("go home")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("go home",)


async def test_a_cancel_is_never_retried() -> None:
    runs = 0

    @effect(Retry(on=lambda _: True, attempts=5, backoff=constant(0)))
    async def leaf() -> None:
        nonlocal runs
        runs += 1
        await forever()

    task = asyncio.ensure_future(leaf())
    await ticks()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runs == 1


async def test_a_cancel_while_it_waits_between_attempts() -> None:
    @effect(Retry(on=Boom, attempts=5, backoff=constant(LONG)))
    async def leaf() -> None:
        raise Boom

    task = asyncio.ensure_future(leaf())
    await ticks()
    assert task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("enough",)


async def test_an_error_made_of_the_callers_cancel_is_not_retried() -> None:
    runs = 0

    @effect(Retry(on=Boom, attempts=5, backoff=constant(0)))
    async def leaf() -> None:
        nonlocal runs
        runs += 1
        try:
            await forever()
        except asyncio.CancelledError:
            raise Boom from None

    task = asyncio.ensure_future(leaf())
    await ticks()
    task.cancel()
    with pytest.raises(Boom):
        await task
    assert runs == 1


async def test_asyncios_limit_around_ours_at_the_same_time() -> None:
    """Whichever is first, the outer deadline ends the block, and no cancel is left over."""
    outer = 0
    for _ in range(TIMES):
        try:
            async with asyncio.timeout(SAME):
                try:
                    await effect(Timeout(SAME))(slow)()
                except TimedOut:
                    await forever()
        except TimedOut:
            pytest.fail("our error stands for somebody else's cancel")
        except TimeoutError:
            outer += 1
        assert cancelling() == 0
    assert outer == TIMES


async def test_asyncios_limit_inside_ours_at_the_same_time() -> None:
    async def leaf() -> None:
        async with asyncio.timeout(SAME):
            await forever()

    for _ in range(TIMES):
        with pytest.raises(TimeoutError):
            await effect(Timeout(SAME))(leaf)()
        assert cancelling() == 0


async def test_effects_within_effects_at_the_same_time() -> None:
    inner = effect(Timeout(SAME))(slow)

    @effect(Timeout(SAME))
    async def outer() -> str:
        return await inner()

    for _ in range(TIMES):
        with pytest.raises(TimedOut):
            await outer()
        assert cancelling() == 0


async def test_the_inner_limit_is_the_inner_ones() -> None:
    seen: list[object] = []

    @effect(Timeout(LONG))
    async def outer() -> str:
        try:
            return await effect(Timeout(SOON))(slow)()
        except TimedOut as error:
            seen.append(error.policy)
            return "caught"

    assert await outer() == "caught"
    assert seen == [f"Timeout({SOON})"]


async def test_in_a_task_that_is_being_cancelled() -> None:
    """A cleanup may use effects: its task has a cancel already, which is not ours."""

    async def body() -> tuple[str, int]:
        try:
            await forever()
        except asyncio.CancelledError:
            try:
                await effect(Timeout(SOON))(slow)()
            except TimedOut:
                return "timed out", cancelling()
        return "nothing", 0

    task = asyncio.create_task(body())
    await ticks()
    task.cancel()
    assert await task == ("timed out", 1)


async def test_after_a_task_group_that_failed() -> None:
    """CPython 3.11 and 3.12 leave the group's own cancel on the task: an effect after it works all the same."""

    async def fails() -> None:
        raise Boom

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            await forever()
    before = cancelling()
    for _ in range(2):
        with pytest.raises(TimedOut):
            await effect(Timeout(SOON))(slow)()
        assert cancelling() == before
    runs = 0

    @effect(Retry(on=Boom, attempts=3, backoff=constant(0)))
    async def third() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        if runs < 3:
            raise Boom
        return runs

    assert await third() == 3


async def test_a_cancel_at_any_moment_around_the_timeout_is_not_lost() -> None:
    """T1: the task is cancelled just before, at, and just after the moment at which the limit passes."""
    for i in range(TIMES * 3):
        limit = 0.002

        async def body() -> str:
            try:
                return await effect(Timeout(0.002))(slow)()
            except TimedOut:
                await asyncio.sleep(LONG)
                return "the cancel was lost"

        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        if i % 2:
            time.sleep(limit)  # both are due in one iteration of the loop
        await asyncio.sleep(limit * 0.75 + (i % 20) * 0.00005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancel_in_the_tick_of_completion() -> None:
    """T1: the leaf's future is decided and the task cancelled in one iteration: it is a cancel, always."""
    for _ in range(TIMES * 5):
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def leaf(future: asyncio.Future[int] = future) -> int:
            return await future

        task = asyncio.ensure_future(effect(Retry(on=Boom), Timeout(LONG))(leaf)())
        await ticks(2)
        future.set_result(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_limit_of_nothing_in_a_task_already_cancelled() -> None:
    """T1: the cancel comes first, whatever the limit."""
    for _ in range(TIMES * 5):

        async def body() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await effect(Timeout(0))(slow)()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(body())


async def test_a_value_that_comes_with_the_deadline_is_kept() -> None:
    """The leaf is ready and its time is up in one iteration: what is done is not thrown away."""
    tried = 0
    loop = asyncio.get_running_loop()
    while tried < 15:
        future: asyncio.Future[int] = loop.create_future()

        async def leaf(future: asyncio.Future[int] = future) -> int:
            try:
                return await future
            except asyncio.CancelledError:
                return future.result() if future.done() and not future.cancelled() else -1

        def late(future: asyncio.Future[int] = future, begun: float = time.monotonic()) -> None:
            nonlocal in_time
            in_time = time.monotonic() < begun + 0.005
            time.sleep(0.006)  # the limit passes meanwhile
            if not future.done():
                future.set_result(7)

        in_time = False  # a busy machine may let the limit pass first: that says nothing
        loop.call_later(0.001, late)
        with suppress(TimedOut):
            answer = await effect(Timeout(0.005))(leaf)()
        assert cancelling() == 0
        if in_time:
            assert answer == 7
            tried += 1
