"""A loop that is dropped without `close`, with calls under way, is collected, and all that it held is given back."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import (
    Cache,
    ConcurrencyLimit,
    RateLimit,
    Runtime,
    Timeout,
    blocking,
    deadline,
    effect,
    fs,
    gather,
    process,
    race,
)
from mountain_runtime._native import statistics
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from tests.effect.support import LONG, forever, ticks, value
from tests.policy.room import until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

#: Starts to wait, for a pipe to which nothing is written or for a limit that is taken.
Wait = Callable[[Path, ConcurrencyLimit], Awaitable[Any]]


async def enters(limit: ConcurrencyLimit) -> None:
    async with limit.slot():
        pass


async def acquires() -> None:
    limit = RateLimit(1, per=LONG)
    await limit.acquire()
    await limit.acquire()


async def submits(native: bool, **options: Any) -> None:
    rt = Runtime(**options)
    await rt.__aenter__()
    for _ in range(3):
        rt.submit(sleep(LONG) if native else effect(forever)())
    await rt.submit(sleep(LONG) if native else effect(forever)())


async def runs() -> None:
    rt = Runtime()
    await rt.__aenter__()
    await rt.run(effect(forever)())


async def under_a_deadline() -> None:
    async with deadline(LONG):
        await sleep(LONG)


async def opens() -> None:
    child = process.open("sleep", str(LONG))
    running = await child.__aenter__()
    await running.wait()


async def flies(native: bool) -> None:
    """Several callers: the one that began the flight, and those who joined it."""

    @effect(Cache(ttl=LONG))
    async def call() -> None:
        await (sleep(LONG) if native else forever())

    await asyncio.gather(call(), call())


async def awaits(work: Awaitable[Any]) -> None:
    await work


async def drops(work: Any) -> None:
    """Nothing awaits the handles, but a callback knows the loop."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        work.__await__().add_done_callback(lambda _: loop.stop())
    await forever()


async def gathers(*work: Any) -> None:
    await asyncio.gather(*(each.__await__() for each in work))


WAITS: dict[str, Wait] = {
    "a slot": lambda _, limit: enters(limit),
    "an effect": lambda _, limit: effect(limit)(value)(),
    "a native effect": lambda _, limit: awaits(noop().under(limit)),
    "a native effect under a timeout": lambda *_: awaits(sleep(LONG).under(Timeout(LONG))),
    "native ones side by side": lambda _, limit: awaits(gather([noop().under(limit), sleep(LONG)])),
    "a race": lambda _, limit: awaits(race(noop().under(limit), effect(forever)())),
    "in a gather of asyncio's": lambda _, limit: gathers(noop().under(limit), sleep(LONG)),
    "handles that were dropped": lambda *_: drops(sleep(LONG)),
    "a deadline": lambda *_: under_a_deadline(),
    "a rate limit": lambda *_: acquires(),
    "a flight": lambda *_: flies(native=False),
    "a flight of native work": lambda *_: flies(native=True),
    "run by a runtime": lambda *_: runs(),
    "submitted": lambda *_: submits(native=False),
    "submitted native work": lambda *_: submits(native=True),
    "queued for a runtime": lambda *_: submits(native=True, max_in_flight=1),
    "a file": lambda pipe, _: awaits(fs.hash(pipe)),
    "a program": lambda *_: awaits(process.run("sleep", str(LONG))),
    "a program that is talked to": lambda *_: opens(),
}


def begun(loop: asyncio.AbstractEventLoop, wait: Awaitable[Any]) -> None:
    """Starts it; a task that is dropped pending is asyncio's to complain about, with or without us."""
    loop.create_task(awaits(wait))
    loop.run_until_complete(asyncio.sleep(0.01))  # for real: a program, or a worker at a pipe, takes it
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("kind", WAITS)
def test_its_waits_do_not_keep_it(tmp_path: Path, complaints: list[str], kind: str, debug: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    limit = ConcurrencyLimit(1, max_waiting=5)

    async def elsewhere() -> None:
        async with limit.slot():
            before = statistics()["running"]
            gone = await asyncio.to_thread(dropped)
            assert gone() is None
            await until(lambda: statistics()["running"] <= before and not sum(limit.statistics().waiting.values()))
        await effect(limit)(value)()

    def dropped() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loop = asyncio.new_event_loop()
        loop.set_debug(debug)
        begun(loop, WAITS[kind](tmp_path / "pipe", limit))
        gone = weakref.ref(loop)
        del loop
        gc.collect()
        return gone

    asyncio.run(elsewhere())
    assert [each for each in complaints if "ResourceWarning" not in each] == []


def test_a_handle_that_is_kept_does_not_keep_its_loop() -> None:
    handles: list[Any] = []

    async def starts() -> None:
        handles.append(sleep(LONG).__await__())
        handles.append(sleep(LONG).__await__())
        handles[-1].add_done_callback(lambda _: None)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(starts())
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    for handle in handles:
        assert not handle.done()
        with pytest.raises(RuntimeError, match="the event loop is gone"):
            handle.get_loop()


class Plain(asyncio.SelectorEventLoop):
    def __del__(self) -> None:
        """Not closed by the collector either, as asyncio's own are."""


@pytest.mark.parametrize("keeps", [False, True], ids=["", "with a handle that is kept"])
def test_a_loop_without_a_finaliser(keeps: bool) -> None:
    limit = ConcurrencyLimit(1, max_waiting=5)
    kept: list[Any] = []

    async def holds() -> None:
        kept.append(limit.slot())
        await kept[0].__aenter__()

    async def starts() -> None:
        kept.append(noop().under(limit).__await__())

    asyncio.run(holds())
    loop = Plain()
    loop.run_until_complete(starts())
    begun(loop, WAITS["a slot"](Path(), limit))
    gone = weakref.ref(loop)
    if not keeps:
        kept.pop()
    del loop
    gc.collect()
    assert gone() is None

    async def given_back() -> None:
        await until(lambda: not sum(limit.statistics().waiting.values()))

    asyncio.run(given_back())


def test_what_a_thread_has_done_meanwhile() -> None:
    """A running call keeps its loop, as one of `asyncio.to_thread` does, and no longer than it runs."""
    running, go_on = threading.Event(), threading.Event()

    @blocking
    def waits() -> bool:
        running.set()
        return go_on.wait(LONG)

    loop = asyncio.new_event_loop()
    task = loop.create_task(awaits(waits()))
    loop.run_until_complete(ticks())
    assert running.wait(LONG)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    gone = weakref.ref(loop)
    del loop, task
    go_on.set()

    async def collected() -> None:
        await until(lambda: gc.collect() >= 0 and gone() is None)

    asyncio.run(collected())
