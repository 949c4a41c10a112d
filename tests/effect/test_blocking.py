"""Blocking functions: on daemon threads that pull jobs, and what a caller sees of them."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mountain_runtime import Retry, Timeout, blocking, constant, gather
from mountain_runtime._effect.threads import default_pool
from mountain_runtime._native import statistics
from mountain_runtime.errors import TimedOut

from .support import LONG, SOON, Boom, Stop, heartbeat, ticks


class Gate:
    """A function that waits until it is let go."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.calls: list[int] = []
        self.ended: list[int] = []

    def __call__(self, n: int = 0) -> int:
        self.calls.append(n)
        assert self.event.wait(LONG)
        self.ended.append(n)
        return n


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.event.set()


async def until(condition: Callable[[], object], *, patience: float = 5) -> None:
    """Waits for what another thread does."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.001)  # the thread has nothing that one could await


async def test_it_runs_on_a_daemon_thread_of_pythons() -> None:
    @blocking
    def where() -> tuple[bool, bool, str]:
        thread = threading.current_thread()
        return thread is threading.main_thread(), thread.daemon, thread.name

    main, daemon, name = await where()
    assert not main
    assert daemon
    assert name.startswith("mountain-blocking")


async def test_the_loop_goes_on_meanwhile() -> None:
    @blocking
    def waits() -> None:
        time.sleep(0.5)  # stands for any call that blocks

    async with heartbeat() as gaps:
        await gather([waits(), waits(), waits()])
    assert len(gaps) > 5
    assert max(gaps) < 0.45


async def test_arguments_values_errors() -> None:
    @blocking
    def sums(a: int, *rest: int, b: int = 0) -> int:
        return a + sum(rest) + b

    assert await sums(1, 2, 3, b=4) == 10

    @blocking
    def raises(error: BaseException) -> None:
        raise error

    with pytest.raises(Boom):
        await raises(Boom())
    with pytest.raises(Stop):
        await raises(Stop())
    for error in (StopIteration(1), StopAsyncIteration(1)):
        with pytest.raises(RuntimeError) as caught:
            await raises(error)
        assert caught.value.__cause__ is error or isinstance(caught.value.__context__, type(error))
    assert await sums(1) == 1


async def test_policies_around_it() -> None:
    tries: list[int] = []

    @blocking(Timeout(LONG), Retry(on=Boom, attempts=3, backoff=constant(0)))
    def third() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise Boom
        return len(tries)

    assert await third() == 3


def test_default_size() -> None:
    assert default_pool().size == min(32, (os.cpu_count() or 1) + 4)
    assert default_pool() is default_pool()


async def test_no_more_threads_than_the_size(gate: Gate) -> None:
    size = default_pool().size
    calls = [asyncio.ensure_future(blocking(gate)(n)) for n in range(size + 20)]
    await until(lambda: len(gate.calls) >= size)
    await asyncio.sleep(SOON)  # in which no further one may begin
    assert len(gate.calls) == size
    gate.event.set()
    assert await asyncio.gather(*calls) == list(range(size + 20))


async def test_a_thread_is_used_again() -> None:
    before = threading.active_count()
    names = {await blocking(lambda: threading.current_thread().name)() for _ in range(50)}
    assert names
    assert threading.active_count() <= before + 2  # a thread says that it is idle a moment after it has answered


async def test_the_caller_of_a_running_call_is_released_and_the_thread_counts_as_abandoned(gate: Gate) -> None:
    before = statistics()["abandoned_threads"]
    with pytest.raises(TimedOut):
        await blocking(Timeout(SOON))(gate)()
    assert statistics()["abandoned_threads"] == before + 1
    task = asyncio.ensure_future(blocking(gate)(1))
    await until(lambda: len(gate.calls) == 2)
    task.cancel("now")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("now",)
    assert statistics()["abandoned_threads"] == before + 2
    assert gate.ended == []
    gate.event.set()
    await until(lambda: statistics()["abandoned_threads"] == before)
    assert sorted(gate.ended) == [0, 1]


async def test_a_queued_call_that_is_cancelled_never_runs(gate: Gate) -> None:
    size = default_pool().size
    running = [asyncio.ensure_future(blocking(gate)(n)) for n in range(size)]
    await until(lambda: len(gate.calls) == size)
    queued = asyncio.ensure_future(blocking(gate)(1000))
    await ticks()
    before = statistics()["abandoned_threads"]
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert statistics()["abandoned_threads"] == before
    gate.event.set()
    await asyncio.gather(*running)
    await blocking(lambda: None)()
    assert 1000 not in gate.calls


async def test_the_error_of_an_abandoned_call_is_nobodys(gate: Gate, loop_complaints: list[str]) -> None:
    """T11: what fails after its caller has gone makes no noise."""

    def fails() -> None:
        gate()
        raise Boom

    before = statistics()["abandoned_threads"]
    with pytest.raises(TimedOut):
        await blocking(Timeout(SOON))(fails)()
    gate.event.set()
    await until(lambda: statistics()["abandoned_threads"] == before)
    assert loop_complaints == []


async def test_a_loop_that_closes_with_calls_on_threads(gate: Gate, loop_complaints: list[str]) -> None:
    def program() -> None:
        async def main() -> None:
            asyncio.ensure_future(blocking(gate)(1))
            await until(lambda: gate.calls)

        asyncio.run(main())

    await blocking(program)()
    gate.event.set()
    await until(lambda: gate.ended)
    assert loop_complaints == []
