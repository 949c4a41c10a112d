"""Children in this process: signals, descriptors, forks, and waits for other children."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mountain_runtime import Runtime, _native, process
from tests.providers.process import cancelled
from tests.providers.process.support import PYTHON, eventually, lives, nothing_left, pids, within, zombies


async def test_spawns_that_are_cancelled_leave_nothing() -> None:
    """P1: 300 of them; tests/stress has 2000."""
    await cancelled.check(300)


async def test_a_child_has_its_standard_three_and_no_more(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        listing = "import os; print(sorted(int(n) for n in os.listdir('/dev/fd')))"
        done = await process.run(PYTHON, "-c", listing)
        assert done.stdout == b"[0, 1, 2, 3]\n"  # the last is the listing's own


async def test_a_child_has_no_signal_blocked_and_only_what_was_ignored_on_purpose() -> None:
    if sys.platform != "linux":
        return
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    handled = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        done = await process.run("cat", "/proc/self/status")
    finally:
        signal.signal(signal.SIGUSR2, before)
        signal.signal(signal.SIGUSR1, handled)
    lines = (line.split(":") for line in done.stdout.decode().splitlines())
    masks = {name: int(mask, 16) for name, mask in lines if name in ("SigBlk", "SigCgt", "SigIgn")}
    assert masks["SigBlk"] == masks["SigCgt"] == 0
    assert masks["SigIgn"] & (1 << signal.SIGUSR2 - 1)
    assert not masks["SigIgn"] & (1 << signal.SIGPIPE - 1)


async def test_each_child_leads_a_group_of_its_own() -> None:
    done = await process.run(PYTHON, "-c", "import os; print(os.getpid(), os.getpgid(0))")
    pid, group = done.stdout.split()
    assert pid == group


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop has a handler of its own
async def test_the_user_s_handler_goes_on_to_be_called() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
    try:
        await process.run("true")
        assert eventually(lambda: bool(seen))  # the signal may come to another thread after the end of its cause
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_the_children_of_others_are_left_alone() -> None:
    with subprocess.Popen(["true"]) as theirs:
        child = await asyncio.create_subprocess_exec("false")
        done = await asyncio.gather(*[process.run("true") for _ in range(20)])
        assert {each.returncode for each in done} == {0}
        assert await child.wait() == 1
        assert theirs.wait() == 0


async def test_nobody_else_s_wait_finds_the_guard() -> None:
    await process.run("true")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_code_that_somebody_else_took_is_255_as_in_asyncio() -> None:
    """In a program of its own: SIGCHLD is ignored there, so that the system reaps."""
    program = (
        "import asyncio, signal\nfrom mountain_runtime import process\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "async def main():\n print((await process.run('true', check=False)).returncode)\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([PYTHON, "-c", program], capture_output=True, check=True, timeout=20).stdout == b"255\n"


async def test_a_loop_that_ends_leaves_no_process() -> None:
    began: list[int] = []

    async def main() -> None:
        async with process.open("sleep", "1000") as p:
            began.append(p.pid)
            await asyncio.Event().wait()

    def run() -> None:
        with asyncio.Runner() as runner:
            task = runner.get_loop().create_task(main())
            while not began:
                runner.run(asyncio.sleep(0.005))  # real: the start is
            assert not task.done()

    async with nothing_left():
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)  # real: the thread is
        assert not lives(began[0])


async def test_a_sweep_ends_what_its_runtime_has_left() -> None:
    async with nothing_left():
        async with Runtime() as ours:
            child = await _native.process_open(("sleep", "1000"), None, None, False, ours._number)
            other = await _native.process_open(("sleep", "1001"), None, None, False, None)
            assert _native.sweep_groups(ours._number) == [(child.pid, "sleep 1000")]
            assert await child.wait() == -signal.SIGKILL
            assert lives(other.pid)
            await other.end(0)


def test_a_later_runtime_sweeps_nothing_of_an_earlier_one() -> None:
    """It may be where that was, and so have its address."""
    assert len({Runtime()._number for _ in range(100)}) == 100


async def test_the_end_of_a_process_needs_no_permission() -> None:
    """A runtime that drains takes no new work; a process that was opened before is still ended."""
    async with nothing_left():
        block = process.open("sleep", "1000")
        async with Runtime():
            p = await block.__aenter__()
        await block.__aexit__(None, None, None)
        assert not lives(p.pid)


FORKS = """
import asyncio, os, sys
from mountain_runtime import process

async def talk():
    async with process.open("cat") as p:
        await p.send(b"hello")
        return await p.receive()

async def main():
    async with process.open("cat") as mine:
        child = os.fork()
        if child == 0:
            try:
                mine.signal(9)
            except ProcessLookupError:
                pass
            return "child"
        os.waitpid(child, 0)
        await mine.send(b"still here")
        assert await mine.receive() == b"still here"
        return "parent"

who = asyncio.run(main()) if os.environ.get("INSIDE") else None
if who is None:
    assert asyncio.run(talk()) == b"hello"
    child = os.fork()
    assert asyncio.run(talk()) == b"hello"
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("both")
"""


HOLDING = """
import asyncio, os, signal, sys, time
from mountain_runtime import process

async def main():
    async with process.open("wc", "-c") as p:
        await p.send(b"x")
        child = os.fork()  # it lives on, as a worker does
        if child == 0:
            time.sleep(60)
            os._exit(0)
        await p.close_stdin()
        async with asyncio.timeout(5):
            assert (await p.receive()).strip() == b"2"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # At any moment of a start: a copy of the child's end of its stdout would keep the parent waiting.
    children = []
    try:
        for n in range(60):
            runs = [asyncio.ensure_future(process.run("true")) for _ in range(4)]
            await asyncio.sleep(n % 7 / 5000)
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
            async with asyncio.timeout(5):
                await asyncio.gather(*runs)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    print("free")

asyncio.run(main())
"""


def test_a_forked_child_holds_nobody_s_pipe() -> None:
    done = subprocess.run([PYTHON, "-W", "ignore", "-c", HOLDING], capture_output=True, timeout=40, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"free\n", b"")


#: From 3.12 on a fork with threads warns.
QUIET = ("-W", "ignore::DeprecationWarning")


def test_a_forked_child_starts_its_own_and_leaves_ours_alone() -> None:
    done = subprocess.run([PYTHON, *QUIET, "-c", FORKS], capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"both\n", b"")


LEAVING = """
import asyncio, os, sys
from pathlib import Path
from mountain_runtime import process

async def main():
    task = asyncio.ensure_future(process.run("/bin/sh", "-c", sys.argv[1]))
    file = Path(sys.argv[2])
    while not file.exists() or file.read_text().count("\\n") < 2:
        await asyncio.sleep(0.01)
    os._exit(3)

asyncio.run(main())
"""


def test_an_exit_ends_every_group(tmp_path: Path) -> None:
    """The interpreter ends without waiting for a process; its children's children go with it."""
    if sys.platform != "linux":
        return
    script = f"trap '' TERM; sh -c 'echo $$ >> {tmp_path}/pids; exec sleep 1000' & echo $$ >> {tmp_path}/pids; wait"
    with within(10):
        argv = [PYTHON, "-c", LEAVING, script, str(tmp_path / "pids")]
        assert subprocess.run(argv, timeout=20, check=False).returncode == 3
    for pid in pids(tmp_path / "pids", 2):
        assert eventually(lambda pid=pid: not lives(pid), 2)  # type: ignore[misc]


async def test_short_programs_one_after_another_are_quick() -> None:
    """Coarse: five times what a loaded machine needs. benches/suites/spawn.py has the figures."""
    began = time.monotonic()
    for _ in range(50):
        await process.run("true")
    assert time.monotonic() - began < 2.5
    assert zombies() == []
