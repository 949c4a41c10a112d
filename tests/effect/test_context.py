"""Context variables: seen wherever a part of the effect runs, and never leaking out."""

import asyncio
import contextvars
import threading
from typing import Any

from mountain_runtime import Retry, Timeout, amap, blocking, constant, effect, gather
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep

from .support import LONG, Boom, ticks

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


@effect(Timeout(LONG))
async def read() -> str:
    await asyncio.sleep(0)
    return VAR.get()


@blocking
def read_in_thread() -> str:
    return VAR.get()


async def test_the_same_value_everywhere() -> None:
    """B6: in a coroutine, in a thread, in a map function."""
    VAR.set("mine")
    assert await read() == "mine"
    assert await read_in_thread() == "mine"
    assert await noop().map(lambda _: VAR.get()) == "mine"
    assert await noop().then(lambda _: read()) == "mine"
    assert await gather([read(), read_in_thread(), noop().map(lambda _: VAR.get())]) == ["mine"] * 3
    async with amap(lambda _: read(), [1, 2], limit=2) as results:
        assert [v async for _, v in results] == ["mine"] * 2


async def test_what_a_leaf_sets_is_seen_as_after_a_plain_await() -> None:
    """A leaf runs in its caller's own task: like a plain `await`, it can set what the caller sees."""

    @effect(Timeout(LONG))
    async def sets() -> None:
        await asyncio.sleep(0)
        VAR.set("by the leaf")

    await sets()
    assert VAR.get() == "by the leaf"


async def test_no_leak_out_of_threads_tasks_and_groups() -> None:
    """B6: nothing comes out of what runs elsewhere."""

    @blocking
    def sets_in_thread() -> str:
        before = VAR.get()
        VAR.set("thread")
        return before

    @effect
    async def sets() -> None:
        VAR.set("child")

    VAR.set("outside")
    assert [await sets_in_thread() for _ in range(3)] == ["outside"] * 3
    await gather([sets(), sets()])
    await asyncio.create_task(sets())
    async with amap(lambda _: sets(), [1, 2], limit=2) as results:
        async for _ in results:
            pass
    assert VAR.get() == "outside"


async def test_it_stays_over_every_attempt_and_wait() -> None:
    seen: list[str] = []

    @effect(Retry(on=Boom, attempts=3, backoff=constant(0.001)))
    async def leaf() -> None:
        seen.append(VAR.get())
        await sleep(0)
        seen.append(VAR.get())
        raise Boom

    async def caller(name: str) -> None:
        VAR.set(name)
        await leaf().attempt(Boom)
        assert VAR.get() == name

    await asyncio.gather(caller("a"), caller("b"))
    assert sorted(seen) == ["a"] * 6 + ["b"] * 6


async def test_on_and_map_functions_see_the_callers_context() -> None:
    seen: list[str] = []

    def on(_: Exception) -> bool:
        seen.append(VAR.get())
        return True

    @effect(Retry(on=on, attempts=2, backoff=constant(0.001)))
    async def leaf() -> None:
        await asyncio.sleep(0)
        raise Boom

    VAR.set("caller")
    await leaf().attempt(Boom)
    assert set(seen) == {"caller"}


async def test_tasks_that_share_one_context() -> None:
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()

    async def wait() -> int:
        return await sleep(0.001).map(lambda _: 7)

    tasks = [loop.create_task(wait(), context=context) for _ in range(50)]
    assert await asyncio.gather(*tasks) == [7] * 50


async def test_current_task_is_the_callers() -> None:
    seen: list[Any] = []

    @effect(Retry(on=Boom, attempts=2, backoff=constant(0.001)), Timeout(LONG))
    async def leaf() -> None:
        seen.append(asyncio.current_task())
        await sleep(0)
        seen.append(asyncio.current_task())
        if len(seen) < 4:
            raise Boom

    await leaf()
    assert seen == [asyncio.current_task()] * 4
    assert threading.current_thread() is threading.main_thread()


async def test_a_step_of_one_task_never_runs_inside_that_of_another() -> None:
    """Tasks are woken straight from the port's drain: never while another task is in the middle of a step."""
    deep = 0

    async def worker() -> None:
        nonlocal deep
        for _ in range(50):
            await noop()
            deep += 1
            assert deep == 1
            assert asyncio.current_task() is not None
            deep -= 1

    await asyncio.gather(*(worker() for _ in range(20)))


async def test_order_of_wake_ups_is_fair() -> None:
    order: list[str] = []

    async def native() -> None:
        for _ in range(5):
            await noop()
            order.append("native")

    async def plain() -> None:
        for _ in range(5):
            await asyncio.sleep(0.002)  # a timer beside the port: it must have its turn
            order.append("plain")

    await asyncio.gather(native(), plain())
    await ticks()
    assert order.count("native") == order.count("plain") == 5
