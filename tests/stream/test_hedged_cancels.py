"""Cancels of a hedged stream, of which a task of its own has the source: the same as of one in the consumer's task."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import anyio
import pytest

from mountain_runtime import Hedge, Retry, constant, stream
from mountain_runtime.testing import VirtualClock

from .support import Boom, Log, collect, outcome, rest

ANSWERS = ("cancel", "item", "end", "error")


class Upstream:
    """The first attempt is slow. The other gives "a", and answers a cancel of its next pull as it is told to."""

    def __init__(self, answer: str, wait: Awaitable[None] | None = None) -> None:
        self.answer = answer
        self.wait = wait
        self.log = Log()
        self.begun = 0

    async def run(self) -> AsyncIterator[str]:
        self.begun += 1
        if self.begun == 1:
            await asyncio.sleep(100)
        try:
            yield "a"
            try:
                await (asyncio.sleep(100) if self.wait is None else self.wait)
                yield "b"
            except asyncio.CancelledError:
                self.log.append("cancelled")
                await asyncio.sleep(0.5)
                if self.answer == "error":
                    raise Boom("its own") from None
                if self.answer == "cancel":
                    raise
                if self.answer == "item":
                    yield "instead"
        finally:
            self.log.append("closed")

    async def read(self, got: list[str]) -> list[str]:
        async with stream(Hedge(1))(self.run)() as items:
            async for item in items:
                got.append(item)
        return got


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("twice", [False, True])
async def test_the_sources_answer_to_a_cancel_is_the_pulls(
    virtual_clock: VirtualClock, answer: str, twice: bool
) -> None:
    upstream = Upstream(answer)
    got: list[str] = []
    task = asyncio.create_task(upstream.read(got))
    await asyncio.sleep(3)
    if twice:
        task.cancel()
    task.cancel("please")
    ended = await outcome(task)
    assert upstream.log == ["cancelled", "closed"]
    assert got == ["a", "instead"][: 1 + (answer == "item")]
    match answer:
        case "cancel":
            assert isinstance(ended, asyncio.CancelledError)
        case "error":
            assert isinstance(ended, Boom)
        case _:
            assert ended is got
    assert virtual_clock.time() == 3.5
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("again", [False, True])
async def test_a_cancel_beside_the_end_of_the_losers_closes_the_winner(
    virtual_clock: VirtualClock, twice: bool, again: bool
) -> None:
    """The first attempt, or the one after its failure, has an item; the other is a second in its cleanup."""
    log = Log()
    begun = 0

    async def run() -> AsyncIterator[str]:
        nonlocal begun
        begun += 1
        number = begun
        if again and number == 1:
            raise Boom
        try:
            if number == 1 + again:
                await asyncio.sleep(2)
                yield "a"
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1 if number != 1 + again else 0.25)
            log.append(f"closed {number}")

    async def read() -> None:
        policies = (Hedge(1), Retry(on=Boom, backoff=constant(0)))
        async with stream(*policies)(run)() as items:
            async for _ in items:
                raise AssertionError("it was cancelled before")

    task = asyncio.create_task(read())
    await asyncio.sleep(2.5)
    if twice:
        task.cancel()
        await asyncio.sleep(0.1)
    task.cancel("please")
    ended = await outcome(task)
    assert isinstance(ended, asyncio.CancelledError)
    assert log == [f"closed {2 + again}", f"closed {1 + again}"], "within the consumer's task"
    assert virtual_clock.time() == 3.25
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_cancel_in_the_turn_of_an_item_or_of_the_end_is_raised(virtual_clock: VirtualClock, turns: int) -> None:
    came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    upstream = Upstream("cancel", came)
    got: list[str] = []
    task = asyncio.create_task(upstream.read(got))
    await asyncio.sleep(3)
    came.set_result(None)
    await rest(turns)
    was_done = task.done()
    task.cancel("please")
    ended = await outcome(task)
    assert ended is got if was_done else ended.args == ("please",)
    assert upstream.log == ["closed"], "it waits for nothing in which it could be cancelled"
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("between", range(4))
async def test_a_second_cancel_cuts_the_answer_short(virtual_clock: VirtualClock, between: int) -> None:
    for answer in ANSWERS:
        upstream = Upstream(answer)
        got: list[str] = []
        task = asyncio.create_task(upstream.read(got))
        await asyncio.sleep(3)
        task.cancel()
        await asyncio.sleep(0.25)
        await rest(between)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (got, upstream.log, virtual_clock.time() % 1) == (["a"], ["cancelled", "closed"], 0.25)
        await asyncio.sleep(0.75)


async def test_a_cancelled_scope_of_anyio_is_one_cancel(virtual_clock: VirtualClock) -> None:
    for answer in ANSWERS:
        upstream = Upstream(answer)
        got: list[str] = []
        ended: Any = None
        with anyio.move_on_after(3) as scope:
            ended = await outcome(upstream.read(got))
            if isinstance(ended, asyncio.CancelledError):
                raise ended
        assert upstream.log == ["cancelled", "closed"], answer
        assert got == ["a", "instead"][: 1 + (answer == "item")]
        # A scope cancels again: after "instead", the next pull.
        assert scope.cancelled_caught == (answer in ("cancel", "item"))
        assert len(asyncio.all_tasks()) == 1


async def test_items_that_are_dropped_in_the_middle_of_a_pull_cancel_it(virtual_clock: VirtualClock) -> None:
    upstream = Upstream("cancel")
    items: Any = aiter(stream(Hedge(1))(upstream.run)())
    assert await anext(items) == "a"
    pull = anext(items).__await__()
    next(pull)
    began = virtual_clock.time()
    del items, pull
    collect()
    await asyncio.sleep(1)
    assert upstream.log == ["cancelled", "closed"]
    assert virtual_clock.time() == began + 1
    assert len(asyncio.all_tasks()) == 1
