"""A flight's end is awaited on other loops than its own, and loops that are closed meanwhile keep no caller."""

import asyncio
import gc
import threading

import pytest

from mountain_runtime import Cache, Timeout, effect
from mountain_runtime.errors import TimedOut
from tests.conftest import EVERY, LoopFactory

from .flying import Elsewhere, awaited, start
from .support import LONG, outcome


class Gate:
    """A function whose cleanup is as long as the test says, for loops of several threads."""

    def __init__(self) -> None:
        self.begun, self.asked, self.open, self.ended = (threading.Event() for _ in range(4))

    async def __call__(self) -> None:
        self.begun.set()
        try:
            while True:
                await asyncio.sleep(0.001)  # real time: the loops of several threads share no clock
        finally:
            self.asked.set()
            while not self.open.is_set():
                await asyncio.sleep(0.001)
            self.ended.set()


def test_a_follower_on_another_loop_waits_too(new_loop: LoopFactory) -> None:
    gate, cache = Gate(), Cache(ttl=LONG)
    get = effect(cache)(gate)
    done = threading.Event()

    async def begins() -> None:
        task = start(get())
        await asyncio.to_thread(gate.begun.wait)
        while cache.statistics()["misses"] < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])  # not the last one
        assert not gate.asked.is_set()
        await asyncio.to_thread(done.wait)

    async def follows() -> bool:
        await asyncio.to_thread(gate.begun.wait)
        task = start(get().under(Timeout(0.05)))
        await asyncio.to_thread(gate.asked.wait)
        await asyncio.sleep(0.01)
        waits = not task.done()
        gate.open.set()
        assert isinstance(await outcome(task), TimedOut)
        assert gate.ended.is_set()
        done.set()
        return waits

    first, second = Elsewhere(new_loop, begins), Elsewhere(new_loop, follows)
    assert second.result() is True
    assert first.result() is None


@pytest.mark.parametrize("loop", EVERY)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning")
def test_a_loop_that_is_closed_while_the_end_is_awaited(loop: str) -> None:
    """The caller's own, with the flight on another; and the flight's, whose end stays unseen."""
    for closes in ("caller", "flight"):
        gate, cache = Gate(), Cache(ttl=LONG)
        get = effect(cache)(gate)
        flights, callers = EVERY[loop](), EVERY[loop]()
        for each in (flights, callers):
            each.set_exception_handler(lambda *_: None)  # tasks that are dropped are complained about
        first = flights.create_task(awaited(get()))
        while not gate.begun.is_set():
            flights.run_until_complete(asyncio.sleep(0.001))
        last = callers.create_task(awaited(get()))
        callers.run_until_complete(asyncio.sleep(0.001))
        first.cancel()
        flights.run_until_complete(asyncio.wait([first]))
        callers.call_soon(last.cancel)
        callers.run_until_complete(asyncio.sleep(0.001))
        while not gate.asked.is_set():
            flights.run_until_complete(asyncio.sleep(0.001))
        assert not last.done()
        if closes == "flight":
            flights.close()
            callers.run_until_complete(asyncio.wait([last]))
            assert last.cancelled()
        else:
            callers.close()
            gate.open.set()
            while not gate.ended.is_set():
                flights.run_until_complete(asyncio.sleep(0.001))
            flights.close()
        callers.close()
        del first, last
        gc.collect()


def test_the_end_of_a_loop_asks_once(new_loop: LoopFactory) -> None:
    """`asyncio.run` cancels all tasks, the flight's and its callers': the cleanup is not disturbed by their leaving."""
    runs: list[str] = []

    @effect(Cache(ttl=LONG))
    async def get() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)  # a clock of its own would be in the way of the loop's end
            runs.append("cleaned up")

    async def main() -> None:
        task = start(get())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert runs == ["cleaned up"]
