"""Loops come and go: one after another, side by side in threads, closed with work in flight."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mountain_runtime import Cache, ConcurrencyLimit, Effect, Retry, Runtime, Timeout, constant, effect, gather
from mountain_runtime._native import statistics
from mountain_runtime._native import trial_noop as noop
from mountain_runtime._native import trial_sleep as sleep
from tests.effect.support import LONG, Boom, forever, ticks, value
from tests.policy.room import until
from tests.providers.process.support import eventually

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run(new_loop: LoopFactory, main: Any) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


async def fails() -> None:
    raise Boom


def works() -> list[Effect[Any]]:
    """One of each kind that can be in flight: native, between attempts, suspended, side by side."""
    return [
        sleep(LONG),
        sleep(LONG).under(Timeout(LONG), Retry(on=Boom)),
        effect(Retry(on=Boom, attempts=2, backoff=constant(LONG)))(fails)(),
        effect(Timeout(LONG))(forever)(),
        gather([sleep(LONG), sleep(LONG)]),
        gather([effect(forever)(), sleep(LONG)]),
    ]


def test_one_after_another(new_loop: LoopFactory, complaints: list[str]) -> None:
    """B7, first half: the module's effects serve each loop in turn."""
    shared = effect(Retry(on=Boom), Timeout(LONG))(value)

    async def main(n: int) -> list[Any]:
        return [await noop(n), await shared(n), *await gather([noop(n), shared(n)])]

    for n in range(3):
        assert run(new_loop, main(n)) == [n] * 4
    assert complaints == []


def test_side_by_side_in_threads(new_loop: LoopFactory, complaints: list[str]) -> None:
    """B7, second half: each result lands on its own loop."""
    shared = effect(Retry(on=Boom), Timeout(LONG))(value)
    results: dict[int, list[Any]] = {}

    async def main(n: int) -> list[Any]:
        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        seen = []
        for i in range(100):
            handle = noop(n * 1000 + i).__await__()
            assert handle.get_loop() is loop  # type: ignore[attr-defined]
            handle.add_done_callback(lambda _: seen.append(threading.get_ident()))  # type: ignore[attr-defined]
            assert await asyncio.ensure_future(handle) == n * 1000 + i  # type: ignore[call-overload]
            assert await shared(n) == n
            assert asyncio.get_running_loop() is loop
        await ticks()
        assert set(seen) == {thread}
        return seen

    def thread(n: int) -> None:
        results[n] = run(new_loop, main(n))

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [len(results[n]) for n in range(4)] == [100] * 4
    assert complaints == []


def test_a_handle_belongs_to_its_loop(new_loop: LoopFactory) -> None:
    """Awaited on another loop: asyncio's own error, as for any future."""
    first, second = new_loop(), new_loop()
    handles: list[Any] = []

    async def make() -> None:
        handles.append(sleep(LONG).__await__())

    async def wait() -> None:
        await handles[0]

    try:
        first.run_until_complete(make())
        with pytest.raises(RuntimeError, match="different loop"):
            second.run_until_complete(wait())
    finally:
        handles.clear()
        first.close()
        second.close()


def test_many_runs_each_with_work_in_flight(new_loop: LoopFactory, complaints: list[str]) -> None:
    """B1, first half: run after run ends with native work pending, without any report. 300 in tests/stress."""
    runs_with_work_in_flight(new_loop, 30)
    gc.collect()
    assert complaints == []


def runs_with_work_in_flight(new_loop: LoopFactory, times: int) -> None:
    async def main() -> None:
        iterator = sleep(0.02).__await__()
        next(iterator)
        tasks.append(asyncio.ensure_future(sleep(0.02)))
        tasks.append(asyncio.ensure_future(noop()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Future[Any]] = []
    for _ in range(times):
        run(new_loop, main())
    assert sum(task.cancelled() for task in tasks[::2]) > times // 2  # on a busy machine some have ended before


def test_closed_with_everything_in_flight(new_loop: LoopFactory, complaints: list[str]) -> None:
    """No cancel, no last iteration: the loop is simply closed. What its runs hold is let go, quietly."""
    for _ in range(5):
        loop = new_loop()
        tasks = [loop.create_task(work) for work in works()]
        loop.run_until_complete(ticks(5))
        loop.close()
        for task in asyncio.all_tasks(loop):
            # A task that dies pending is asyncio's to complain about, with or without us.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        del tasks, task
        gc.collect()
    run(new_loop, value())
    run(new_loop, asyncio.sleep(0.01))  # ended natives answer to a loop that is gone
    assert complaints == []


def test_what_a_closed_loop_held_is_free(new_loop: LoopFactory) -> None:
    class Big:
        pass

    loop = new_loop()
    big = Big()
    seen = weakref.ref(big)

    async def holds(_: Big) -> None:
        raise Boom

    task = loop.create_task(effect(Retry(on=Boom, attempts=2, backoff=constant(LONG)))(holds)(big))
    loop.run_until_complete(ticks())
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    gone = weakref.ref(loop)
    del big, task, loop
    gc.collect()
    assert seen() is None
    assert gone() is None


def test_a_port_goes_with_its_loop(new_loop: LoopFactory) -> None:
    """Descriptors come back: one a loop, and none is left."""
    run(new_loop, noop())  # the workers' own descriptors stay
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run(new_loop, gather([noop(), effect(value)()]).map(bool))
    gc.collect()
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) == before)  # a worker may look at a port a moment longer


def test_closing_twice(new_loop: LoopFactory) -> None:
    loop = new_loop()
    loop.run_until_complete(asyncio.ensure_future(noop(1), loop=loop))
    loop.close()
    loop.close()  # twice is nothing
    assert loop.is_closed()
    assert run(new_loop, noop(2)) == 2


def test_run_until_complete_again_and_again(new_loop: LoopFactory) -> None:
    loop = new_loop()
    try:
        assert [loop.run_until_complete(noop(n)) for n in range(20)] == list(range(20))
    finally:
        loop.close()


def test_an_answer_that_came_while_the_loop_stood_still(new_loop: LoopFactory) -> None:
    loop = new_loop()
    try:
        task = loop.create_task(sleep(0.005))
        loop.run_until_complete(ticks())
        for _ in range(500):
            if not statistics()["running"]:
                break
            threading.Event().wait(0.002)  # no loop runs: only the clock can be waited for
        loop.run_until_complete(asyncio.wait_for(task, LONG))
    finally:
        loop.close()


def test_an_interrupt_comes_through_a_drain(new_loop: LoopFactory) -> None:
    """An interrupt that comes out of a task's step ends the run, as it does without us."""
    loop = new_loop()

    async def main() -> None:
        await noop()
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
        assert loop.run_until_complete(noop(3)) == 3
    finally:
        loop.close()


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning", "ignore:unclosed <:ResourceWarning")
def test_a_loop_that_is_collected_takes_its_port_along(new_loop: LoopFactory, complaints: list[str]) -> None:
    """The next loop is often made at its address, and has a port of its own that is read."""
    run(new_loop, noop())
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(60):
        loop = new_loop()
        kept = not isinstance(loop, asyncio.SelectorEventLoop)
        assert loop.run_until_complete(asyncio.wait_for(noop(1), 3)) == 1
        del loop
        gc.collect()
    assert [each for each in complaints if "ResourceWarning" not in each] == []
    if not kept:  # uvloop keeps a loop that was not closed, and what belongs to it
        assert len(os.listdir("/proc/self/fd")) - before < 60  # less than one a loop: others may open one meanwhile


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning", "ignore:unclosed <:ResourceWarning")
def test_what_a_collected_loop_held_is_given_back() -> None:
    limit = ConcurrencyLimit(1)
    waiting = effect(limit)(value)
    loop = asyncio.new_event_loop()
    task = loop.create_task(effect(limit, Retry(on=Boom, attempts=2, backoff=constant(LONG)))(fails)())
    waits = loop.create_task(waiting())
    loop.run_until_complete(ticks())
    assert limit.statistics().in_flight == 1
    for each in (task, waits):
        each._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, waits, each, loop
    gc.collect()
    assert limit.statistics().in_flight == 0
    assert sum(limit.statistics().waiting.values()) == 0
    run(asyncio.new_event_loop, waiting())


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning", "ignore:unclosed <:ResourceWarning")
def test_a_loop_is_known_by_itself_and_not_by_its_address(complaints: list[str]) -> None:
    """The port of a loop that was collected is kept, and the next loop is made at that one's address."""

    class NeverClosed(asyncio.SelectorEventLoop):
        def __del__(self) -> None:
            """Not even by the collector, as asyncio's own are."""

    handles: list[Any] = []
    ports: list[Any] = []
    addresses: list[int] = []

    async def main() -> int:
        handles.append(noop(1).__await__())
        loop: Any = asyncio.get_running_loop()
        assert handles[-1].get_loop() is loop
        readers = [key.data[0]._callback.__self__ for key in loop._selector.get_map().values()]
        ports.extend(reader for reader in readers if reader is not loop)
        return await asyncio.wait_for(asyncio.ensure_future(handles[-1]), LONG)

    for _ in range(20):
        blanks: list[NeverClosed] = []  # until one lies where the last loop lay
        while not blanks or (addresses and id(blanks[-1]) != addresses[-1] and len(blanks) < 500):
            blanks.append(NeverClosed.__new__(NeverClosed))
        loop = blanks.pop()
        loop.__init__()  # type: ignore[misc]
        addresses.append(id(loop))
        assert loop.run_until_complete(main()) == 1
        del loop, blanks
        gc.collect()
    assert len(set(addresses)) < len(addresses)
    assert [type(port).__name__ for port in ports] == ["Port"] * 20
    assert [each for each in complaints if "ResourceWarning" not in each] == []


# -- parked runs on a closed loop that are kept alive ---------------------------------------------------------------


async def enters(limit: ConcurrencyLimit) -> None:
    async with limit.slot():
        pass


PARKED: dict[str, Callable[[ConcurrencyLimit], Any]] = {
    "a slot": enters,
    "an effect": lambda limit: effect(limit)(value)(),
    "a native effect": lambda limit: awaits(noop().under(limit)),
    "native ones side by side": lambda limit: awaits(gather([noop().under(limit), noop().under(limit)])),
    "in a gather of asyncio's": lambda limit: gathers(noop().under(limit), noop().under(limit)),
    "under a deadline": lambda limit: effect(Timeout(LONG), limit)(value)(),
    "a cached call": lambda limit: effect(Cache(ttl=LONG), limit)(value)(),
}


async def awaits(work: Effect[Any]) -> None:
    await work


async def gathers(*work: Effect[Any]) -> None:
    await asyncio.gather(*(each.__await__() for each in work))


@pytest.mark.parametrize("kind", PARKED)
def test_what_waits_on_a_closed_loop_gives_back_its_seat(new_loop: LoopFactory, kind: str) -> None:
    """Also where its task is kept: it will never run again."""
    limit = ConcurrencyLimit(1, max_waiting=2)
    kept: list[asyncio.Task[Any]] = []

    def elsewhere() -> None:
        loop = new_loop()
        made = PARKED[kind](limit)
        kept.append(loop.create_task(made))
        loop.run_until_complete(until(lambda: sum(limit.statistics().waiting.values()) >= 1))
        loop.close()

    async def main() -> None:
        async with limit.slot():
            await asyncio.to_thread(elsewhere)
            await until(lambda: sum(limit.statistics().waiting.values()) == 0)
        await effect(limit)(value)()
        assert limit.statistics().in_flight == 0

    run(new_loop, main())
    for task in kept:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_what_a_runtime_on_a_closed_loop_had_queued_is_let_go(new_loop: LoopFactory) -> None:
    limit = ConcurrencyLimit(1)
    kept: list[Any] = []

    def elsewhere() -> None:
        loop = new_loop()

        async def submits() -> None:
            runtime = Runtime(max_in_flight=1)
            await runtime.__aenter__()
            kept.extend(
                [runtime, runtime.submit(sleep(LONG)), *(runtime.submit(noop().under(limit)) for _ in range(3))]
            )

        loop.run_until_complete(submits())
        loop.close()

    async def main() -> None:
        async with limit.slot():
            await asyncio.to_thread(elsewhere)
            await until(lambda: sum(limit.statistics().waiting.values()) == 0)
        before = statistics()["running"]
        await until(lambda: statistics()["running"] <= before)

    run(new_loop, main())


def test_a_slot_may_hold_the_last_reference_to_its_task(new_loop: LoopFactory, complaints: list[str]) -> None:
    """The collector ends the coroutine in the block first: the task, whose end closes it too, has to wait for that."""
    limit = ConcurrencyLimit(1000)
    loop = new_loop()

    async def block() -> None:
        async with limit.slot():
            while True:
                await asyncio.sleep(0)

    async def call(inside: Coroutine[Any, Any, None]) -> None:
        await inside

    async def begin() -> None:
        for _ in range(100):  # the collector takes blocks before tasks, in the order of their making
            asyncio.create_task(call(block()))._log_destroy_pending = False  # type: ignore[attr-defined]
        await ticks()

    loop.run_until_complete(begin())
    loop.close()
    del loop
    gc.collect()
    gc.collect()
    assert complaints == []
    assert limit.statistics().in_flight == 0
