"""Signals under `run`: the first drains, the second aborts, and the user's own handlers come back."""

import signal
from signal import SIGINT, SIGTERM

import pytest

from .support import Program, execute

pytestmark = pytest.mark.processes

DRAINS = """
@effect
async def job():
    await asyncio.sleep(0.5)  # still under way when the signal comes
    print("job done")

async def main(runtime):
    runtime.submit(job())
    print("ready")
    while not runtime.stopping():
        runtime.submit(_native.trial_noop())
        await asyncio.sleep(0.005)
    return 7

runtime = Runtime()
print(run(main, runtime=runtime, loop=sys.argv[1]))
print(runtime.report.ok)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("first", [SIGINT, SIGTERM])
def test_the_first_drains_and_run_gives_mains_value(first: signal.Signals, loop: str) -> None:
    ended = Program(DRAINS, loop).wait_for("ready").signal(first).end().quietly()
    assert ended.lines == ["job done", "7", "True"]
    assert ended.took < 3


def test_work_that_was_accepted_before_the_signal_is_awaited_by_main_as_ever() -> None:
    ended = Program(
        """
        @effect
        async def write(n):
            await asyncio.sleep(0.3)  # a write at the very end
            return await _native.trial_noop(n)
        async def main(runtime):
            print("ready")
            while runtime._phase < 2:
                await asyncio.sleep(0.005)
            return await write(5) + await gather(write(1), write(2)).map(sum)
        print(run(main))
        """
    )
    assert ended.wait_for("ready").signal(SIGTERM).end().quietly().lines == ["8"]


MAIN_HANGS = """
async def main(runtime):
    print("ready")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await _native.trial_noop()  # its cleanup is admitted
        print("cancelled")
        return "cut short"

begun = time.monotonic()
print(run(main, runtime=Runtime(shutdown=Shutdown(deadline=5, drain=0.3))))
"""


def test_main_is_cancelled_when_the_drain_ends() -> None:
    ended = Program(MAIN_HANGS).wait_for("ready").signal(SIGTERM).end().quietly()
    assert ended.lines == ["cancelled", "cut short"]
    assert 0.3 <= ended.took < 3


ABORTS = """
@effect
async def job():
    await asyncio.sleep(60)

@blocking
def nap():
    time.sleep(60)

async def main(runtime):
    runtime.submit(job())
    runtime.submit(nap())
    runtime.submit(_native.trial_sleep(60))
    print("ready")
    await asyncio.sleep(60)

try:
    run(main, runtime=Runtime(shutdown=Shutdown(deadline=60, drain=50)), loop=sys.argv[1])
except KeyboardInterrupt:
    print("KeyboardInterrupt")
except SystemExit as error:
    print("SystemExit", error.code)
    raise
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("signals", "line", "status"),
    [
        ((SIGINT, SIGINT), "KeyboardInterrupt", 0),
        ((SIGTERM, SIGTERM), "SystemExit 143", 143),
        ((SIGTERM, SIGINT), "KeyboardInterrupt", 0),
        ((SIGINT, SIGTERM), "SystemExit 143", 143),
    ],
    ids=str,
)
def test_the_second_aborts_at_once(signals: tuple[signal.Signals, ...], line: str, status: int, loop: str) -> None:
    ended = Program(ABORTS, loop).wait_for("ready").signal(*signals).end().quietly(status)
    assert ended.lines == [line]
    assert ended.took < 0.2 + 2


@pytest.mark.parametrize("ending", ["return", "raise", "signal"])
def test_the_users_handlers_come_back(ending: str) -> None:
    ended = execute(
        """
        def mine(*_): print("mine")
        signal.signal(signal.SIGINT, mine)
        signal.signal(signal.SIGTERM, mine)
        async def main(runtime):
            if sys.argv[1] == "raise":
                raise KeyError
            if sys.argv[1] == "signal":
                signal.raise_signal(signal.SIGTERM)
                await asyncio.sleep(0.05)  # so that it is noticed
        try:
            run(main)
        except KeyError:
            pass
        assert signal.getsignal(signal.SIGINT) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        """,
        ending,
    )
    assert ended.quietly().lines == ["mine", "mine"]


def test_python_s_own_handlers_come_back() -> None:
    ended = execute(
        """
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        async def main(runtime): return await _native.trial_noop(3)
        assert run(main) == 3
        assert run(main) == 3
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        """
    )
    ended.quietly()


def test_a_runtime_in_a_side_thread_leaves_signals_alone() -> None:
    """B9: the user's handlers fire while it runs, and are there after it."""
    ended = execute(
        """
        def mine(*_): print("mine")
        signal.signal(signal.SIGINT, mine)
        signal.signal(signal.SIGTERM, mine)
        ready, go = threading.Event(), threading.Event()
        async def main(runtime):
            ready.set()
            await asyncio.to_thread(go.wait)
            return await runtime.submit(_native.trial_noop(4))
        for enter in (run, lambda main: asyncio.run(within(main))):
            async def within(main):
                async with Runtime() as runtime:
                    return await main(runtime)
            ready.clear(); go.clear()
            found = []
            thread = threading.Thread(target=lambda: found.append(enter(main)))
            thread.start()
            ready.wait()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            go.set()
            thread.join()
            print(found)
            assert signal.getsignal(signal.SIGINT) is mine
        """
    )
    assert ended.quietly().lines == ["mine", "mine", "[4]"] * 2


def test_mains_error_comes_out_and_cancels() -> None:
    ended = execute(
        """
        @effect
        async def job():
            try:
                await asyncio.sleep(60)
            finally:
                print("cancelled")
        async def main(runtime):
            runtime.submit(job())
            await asyncio.sleep(0.02)  # it has begun
            raise KeyError("k")
        try:
            run(main)
        except KeyError as error:
            print("raised", error)
        """
    )
    assert ended.quietly().lines == ["cancelled", "raised 'k'"]
    assert ended.took < 3


#: A signal at any moment of a runtime that does nothing: it always drains, and main's value is the result.
IDLE = """
async def main(runtime):
    print("ready")
    while runtime._phase < 2:
        await asyncio.sleep(0.001)
    return "drained"
print(run(main))
"""


@pytest.mark.parametrize("number", range(5))
def test_a_signal_at_any_moment_drains(number: int) -> None:
    program = Program(IDLE).wait_for("ready")
    program.signal(*[SIGTERM], apart=0.001 * number)
    assert program.end().quietly().lines == ["drained"]
