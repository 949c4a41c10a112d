"""Services under `run` and signals, in processes of their own: a start is unwound, a stop ends within the deadline."""

import json
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.lifecycle.support import Program

pytestmark = pytest.mark.processes

SERVICES = """
import contextlib

@contextlib.asynccontextmanager
async def store():
    print("store up", flush=True)
    yield "store"
    print("store gone", flush=True)

@contextlib.asynccontextmanager
async def slow(store=need(Key("store"))):
    try:
        if "start" in sys.argv:
            print("ready", flush=True)
            await asyncio.sleep(5000)
        yield "slow"
        if "stop" in sys.argv:
            await asyncio.sleep(5000)
    except asyncio.CancelledError:
        print("slow unwound", flush=True)
        if "for ever" in sys.argv:
            await asyncio.sleep(5000)
        raise

async def main(runtime):
    if "thread" in sys.argv:
        @blocking(name="stuck")
        def stuck():
            time.sleep(5000)  # what hangs, hangs for real
        runtime.submit(stuck())
    if "cleanup" in sys.argv:
        @effect(name="never tidy")
        async def work():
            try:
                await asyncio.sleep(5000)
            finally:
                await asyncio.sleep(5000)
        runtime.submit(work())
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    await runtime.wait_stopping()
    return 3

runtime = Runtime(shutdown=Shutdown(deadline=1, drain=0.1))
runtime.provide(Key("store"), store).provide(Key("slow"), slow)
try:
    print(run(main, runtime=runtime, loop=sys.argv[1]))
finally:
    if runtime.report is not None:
        print(runtime.report.to_json())
        sys.stdout.flush()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("number", "status"), [(SIGINT, -2), (SIGTERM, 143)])
def test_a_signal_while_a_service_starts_unwinds_what_had_started(loop: str, number: Signals, status: int) -> None:
    """S2: the hook would sleep 5000 s."""
    ended = Program(SERVICES, loop, "start").wait_for("store up").wait_for("ready").signal(number).end()
    assert ended.status == status, ended
    assert ended.lines[:2] == ["slow unwound", "store gone"]
    assert ended.took < 2


def test_a_second_signal_leaves_a_start_that_takes_no_cancel() -> None:
    """S2."""
    program = Program(SERVICES, "asyncio", "start", "for ever").wait_for("store up").wait_for("ready")
    ended = program.signal(SIGTERM, SIGTERM).end()
    assert ended.status == 143, ended
    assert ended.took < 2


@pytest.mark.parametrize(
    ("hangs", "named"),
    [(["thread"], "in stuck"), (["cleanup"], "in work"), (["stop"], "in slow"), (["stop", "for ever"], "in slow")],
    ids=" ".join,
)
def test_whatever_hangs_it_ends_within_the_deadline_and_a_second_and_says_where(hangs: list[str], named: str) -> None:
    """S1, S5, S6: and what does not hang stops as ever."""
    ended = Program(SERVICES, "asyncio", *hangs).wait_for("ready").signal(SIGTERM).end()
    assert ended.took < 1 + 1, ended
    assert "store gone" in ended.lines
    report = json.loads(ended.lines[-1])
    assert not report["ok"]
    assert named in json.dumps(report["steps"]), report
    assert ended.status == 0, ended
