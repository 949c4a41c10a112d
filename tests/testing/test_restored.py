"""The beginning and end of virtual time: clock, loop and selector are as they were, and errors say what to do."""

import asyncio
import selectors
import threading
import time
from typing import Any

import anyio
import pytest
import uvloop

from mountain_runtime import Retry, _native, constant
from mountain_runtime.testing import VirtualClock, _virtual

from .support import Failing, Real

METHODS = ("time", "call_at", "run_in_executor", "shutdown_default_executor")


def own(loop: Any) -> set[str]:
    """The replacement of a method of the loop or of its selector."""
    found = {name for name in METHODS if name in vars(loop)}
    return found | {"select"} if loop._selector is not None and "select" in vars(loop._selector) else found


async def test_all_is_restored_when_the_test_fails() -> None:
    loop = asyncio.get_running_loop()
    run_forever = asyncio.BaseEventLoop.run_forever
    with pytest.raises(KeyError), _virtual() as clock:
        assert own(loop) == {*METHODS, "select"}
        assert asyncio.BaseEventLoop.run_forever is not run_forever
        await asyncio.sleep(50)
        still = _native.now()
        time.sleep(0.001)  # real time passes
        assert _native.now() == still
        raise KeyError
    assert own(loop) == set()
    assert asyncio.BaseEventLoop.run_forever is run_forever
    assert clock.time() == 50.0
    with Real() as real:  # both clocks are real again
        await asyncio.sleep(0.01)
        await Retry(on=ConnectionError, backoff=constant(0.01)).call(Failing(1))
    assert real.took >= 0.02
    assert _native.now() > still
    assert abs(loop.time() - time.monotonic()) < 1
    with pytest.raises(RuntimeError, match="not in use"):
        await clock.advance(1)


async def test_what_others_had_put_in_place_stays() -> None:
    loop: Any = asyncio.get_running_loop()
    loop.time = theirs = lambda: time.monotonic() + 5
    with _virtual() as clock:
        before = loop.time()
        await clock.advance(1)
        assert loop.time() == pytest.approx(before + 1)
    assert loop.time is theirs
    del loop.time


async def test_what_is_left_waits_as_long_as_it_would_have() -> None:
    loop = asyncio.get_running_loop()
    ended: list[str] = []
    loop.call_later(0.02, ended.append, "from before")
    with _virtual() as clock:
        await clock.advance(0.01)
        loop.call_later(3600, ended.append, "never here")
        for times in (1, 2):
            loop.call_later(1000 + 0.02 * times, ended.append, f"loop {times}")
        retried = asyncio.create_task(Retry(on=ConnectionError, backoff=constant(1000.02)).call(Failing(1)))
        await clock.advance(1000)
        assert ended == ["from before"]
        begun = time.monotonic()
    await retried
    while len(ended) < 3:
        await asyncio.sleep(0.001)
    assert ended == ["from before", "loop 1", "loop 2"]
    assert 0.04 <= time.monotonic() - begun < 60


def test_loops_that_begin_meanwhile_are_virtual_until_they_are_closed() -> None:
    async def main(clock: VirtualClock) -> asyncio.AbstractEventLoop:
        await asyncio.sleep(100)
        # The end of the loop waits for this thread, really: its limit of 300 s is not jumped to.
        left = asyncio.create_task(asyncio.to_thread(time.sleep, 0.1))
        await asyncio.sleep(0)
        left.cancel()
        return asyncio.get_running_loop()

    with _virtual() as clock:
        with Real() as real:
            first = asyncio.run(main(clock))
            assert clock.time() == 100.0
            second = asyncio.run(main(clock))
        assert clock.time() == 200.0
        assert 0.2 <= real.took < 10
        idle = asyncio.new_event_loop()
        assert own(idle) == set()
        idle.run_until_complete(clock.advance(1))
        assert own(idle) == {*METHODS, "select"}
    assert own(first) | own(second) | own(idle) == set()
    idle.close()


def test_a_loop_of_another_thread_keeps_its_time() -> None:
    def elsewhere(clock: VirtualClock, said: list[object]) -> None:
        async def main() -> None:
            await asyncio.sleep(0.01)
            said.append(own(asyncio.get_running_loop()))
            with pytest.raises(RuntimeError, match="on that loop's thread only"):
                await clock.advance(1)

        with Real() as real:
            asyncio.run(main())
        said.append(real.took >= 0.01)

    async def main(clock: VirtualClock) -> list[object]:
        said: list[object] = []
        await asyncio.to_thread(elsewhere, clock, said)
        return said

    with _virtual() as clock:
        assert asyncio.run(main(clock)) == [set(), True]
        assert clock.time() == 0.0


def test_on_uvloop_it_says_what_to_do() -> None:
    async def main(clock: VirtualClock) -> None:
        await clock.advance(1)

    with _virtual() as clock:
        with pytest.raises(RuntimeError, match=r"this test runs on uvloop\.Loop: give it a loop of asyncio\.Selector"):
            uvloop.run(main(clock))


def test_there_is_one_at_a_time() -> None:
    with _virtual():
        with pytest.raises(RuntimeError, match="virtual already"), _virtual():
            pass
        with pytest.raises(RuntimeError, match="not in use"):
            asyncio.run(VirtualClock().advance(1))
    with _virtual():
        pass


class Aged(asyncio.SelectorEventLoop):
    """A loop of a machine that has been up for years: its floats have no nanoseconds."""

    def time(self) -> float:
        return 1e8 + time.monotonic()


class Odd(selectors.DefaultSelector):
    """A selector of the user's own."""


@pytest.mark.parametrize("wait", [0.1, 0.3, 1.7, 3600.0])
def test_time_is_exact_however_long_the_machine_has_been_up(wait: float) -> None:
    async def main(clock: VirtualClock) -> None:
        for _ in range(10):
            async with asyncio.timeout(1e6):
                await asyncio.sleep(wait)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), wait)

    loop = Aged(Odd())
    with _virtual() as clock:
        before = loop.time()
        loop.run_until_complete(main(clock))
        assert clock.time() == round(15 * wait, 9)
        assert loop.time() - before == pytest.approx(15 * wait, abs=1)
    assert loop.time() - before < 15 * wait + 1
    loop.close()


@pytest.mark.parametrize("kind", [asyncio.SelectorEventLoop, Aged])
def test_who_looks_whether_it_is_time_finds_that_it_is(kind: type[asyncio.SelectorEventLoop]) -> None:
    async def main() -> int:
        looks = 0
        for number in range(300):
            end = loop.time() + number / 7
            while (left := end - loop.time()) > 0:
                await asyncio.sleep(left)
                looks += 1
            with anyio.CancelScope(deadline=loop.time() + number / 7):
                await asyncio.Event().wait()
            assert loop.time() >= end
        return looks

    loop = kind()
    with _virtual() as clock:
        assert loop.run_until_complete(main()) < 900  # rounding may leave a bit, and that is all
        assert clock.time() == pytest.approx(2 * sum(range(300)) / 7, abs=300e-7)
    loop.close()


def test_a_debugging_loop_still_checks_who_calls() -> None:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            loop.call_later(1, print)
        except RuntimeError as error:
            caught.append(error)

    async def main() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with pytest.raises(TypeError):
            loop.call_later(1, main)

    with _virtual():
        loop.run_until_complete(main())
    loop.close()
    assert "Non-thread-safe" in str(caught[0])
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
