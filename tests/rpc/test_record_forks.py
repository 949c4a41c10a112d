"""A record in the child of a fork: the parent's thread may hold its lock, and what waits is the parent's to write."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = textwrap.dedent(
    """
    import asyncio, os, sys, threading, time
    from mountain_runtime import rpc
    from tests.rpc.support import Log, small

    entered, leave = threading.Event(), threading.Event()

    def slow(name, value):  # the record's thread is in the middle of a line, and more wait
        entered.set()
        leave.wait()
        return value

    record = rpc.Record(sys.argv[1], redact=slow)
    router = small(Log(), record=record)

    async def call(*numbers):
        for number in numbers:
            assert await router.call("add", [number]) == number + 2

    def holds():
        with record._changed:
            held.set()
            leave.wait()

    asyncio.run(call(1, 2))
    entered.wait()
    held = threading.Event()
    threading.Thread(target=holds).start()
    held.wait()
    child = os.fork()
    if child == 0:
        leave.set()
        asyncio.run(call(30))
        record.flush()
        sys.exit(0 if record.lost == 0 else 5)  # waits for what is not written
    for _ in range(3000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)  # the child is another process
    else:
        os.kill(child, 9)
        sys.exit("the child hangs")
    leave.set()
    asyncio.run(call(4))
    record.flush()
    print(status, record.lost)
    """
)


def test_a_fork_while_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "r"
    # From 3.12 on Python warns of forks beside threads, which is what this is about.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 0\n", "")
    found = [json.loads(line) for line in path.read_text().splitlines()]
    begun = {each["id"]: each["params"][0] for each in found if "name" in each}
    assert sorted(begun.values()) == [1, 2, 4, 30]
    assert sorted(begun[each["id"]] + 2 == each["result"] for each in found if "took" in each) == [True] * 4
    child = next(number for number, a in begun.items() if a == 30)
    assert {number.split("-")[0] for number, a in begun.items() if a != 30} != {child.split("-")[0]}
