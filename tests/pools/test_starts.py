"""Workers that do not start, and what they write meanwhile."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

BEGINS = """
import asyncio, os, sys, time
from mountain_runtime import On, Timeout, blocking, pools
from mountain_runtime.errors import NoWorkers

pool = pools.Processes(1, name="cpu")

@blocking(On(pool))
def works() -> int:
    print("at work", file=sys.stderr)
    return 1

async def called(limit=60):
    try:
        print(await works().under(Timeout(limit)), flush=True)
    except (NoWorkers, TimeoutError) as error:
        print(error, flush=True)

def run(main):
    if __name__ == "__main__":
        asyncio.run(main())
"""


def started(folder: Path, program: str) -> "subprocess.Popen[str]":
    """A program of its own."""
    (folder / "starts.py").write_text(BEGINS + textwrap.dedent(program))
    return subprocess.Popen(
        [sys.executable, "starts.py"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ran(folder: Path, program: str) -> tuple[str, str]:
    """The output of a program, and its errors."""
    with started(folder, program) as process:
        try:
            return process.communicate(timeout=60)
        finally:
            process.kill()


DIES = """
if __name__ != "__main__":
    print("first", file=sys.stderr)
    print("library abc is missing", file=sys.stderr)
    os._exit(3)
"""


def test_a_worker_that_dies_at_its_start_leaves_its_last_lines(tmp_path: Path) -> None:
    out, err = ran(tmp_path, f"{DIES}\nrun(called)\n")
    assert out == (
        "works: pool 'cpu' has no workers, as they do not start: it exited with 3. Its last lines:\n"
        "first\nlibrary abc is missing\n"
    )
    assert err.count("library abc is missing\n") == 3
    assert "worker" in err  # that each is lost is a warning


def test_a_pool_whose_workers_die_at_their_start_is_not_entered(tmp_path: Path) -> None:
    program = """
        async def main():
            try:
                async with pool:
                    print("entered")
            except NoWorkers as error:
                print(error)

        run(main)
        """
    out, _ = ran(tmp_path, DIES + textwrap.dedent(program))
    assert out.endswith("it exited with 3. Its last lines:\nfirst\nlibrary abc is missing\n")


def test_a_python_that_cannot_start_says_why(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'error while loading shared libraries: libpython' >&2\nexit 127\n")
    fake.chmod(0o755)
    out, _ = ran(tmp_path, f"import multiprocessing\nmultiprocessing.set_executable({str(fake)!r})\nrun(called)\n")
    assert out.endswith("it exited with 127. Its last lines:\nerror while loading shared libraries: libpython\n")


def test_a_crash_at_the_start_leaves_the_stack_of_faulthandler(tmp_path: Path) -> None:
    crashes = """
    if __name__ != "__main__":
        import faulthandler, ctypes
        faulthandler.enable()
        ctypes.string_at(0)

    run(called)
    """
    out, _ = ran(tmp_path, textwrap.dedent(crashes))
    assert "it was killed by SIGSEGV. Its last lines:\n" in out
    assert "Fatal Python error: Segmentation fault" in out


def test_lines_are_in_order_around_the_start(tmp_path: Path) -> None:
    prints = """
    if __name__ != "__main__":
        for n in range(1000):
            print("imports", n, file=sys.stderr)

    run(called)
    """
    out, err = ran(tmp_path, textwrap.dedent(prints))
    assert out == "1\n"
    assert err.splitlines() == [*(f"imports {n}" for n in range(1000)), "at work"]


def test_a_process_that_a_worker_starts_as_it_begins_keeps_a_stderr(tmp_path: Path) -> None:
    starts = """
    import subprocess
    if __name__ != "__main__":
        helper = subprocess.Popen(["sh", "-c", "read line; echo helper $line >&2"], stdin=subprocess.PIPE, text=True)

    @blocking(On(pool))
    def helps() -> int:
        helper.communicate("later")
        return helper.returncode

    async def main():
        print(await helps())

    run(main)
    """
    assert ran(tmp_path, textwrap.dedent(starts)) == ("0\n", "helper later\n")


def test_a_stderr_that_is_not_read_holds_up_no_pool(tmp_path: Path) -> None:
    """The worker waits for room, as it would without a pipe of its own between; the manager goes on."""
    floods = """
    if __name__ != "__main__":
        for n in range(10_000):
            print("imports and imports and imports", n, file=sys.stderr)

    async def main():
        await called(1)
        await called()

    run(main)
    """
    with started(tmp_path, textwrap.dedent(floods)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Timeout(1) passed" in process.stdout.readline()
        out, err = process.communicate(timeout=60)
    assert out == "1\n"
    # On a busy machine the program may say that its loop stood still meanwhile.
    lines = [line for line in err.splitlines() if "held its event loop" not in line]
    assert lines[:10_000] == [f"imports and imports and imports {n}" for n in range(10_000)]
    assert set(lines[10_000:]) == {"at work"}
