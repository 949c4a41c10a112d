"""Workers, calls and answers that end in odd ways: each call is answered, and the next one is served."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Timeout
from mountain_runtime.errors import NoWorkers, RemoteError, TimedOut, WorkerLost

from . import odd_work as work

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def _odd_closed() -> Iterator[None]:
    yield

    async def close() -> None:
        for pool in (work.odd, work.wide, work.alone, work.crowded):
            await pool._close(5)

    asyncio.run(close())


async def within(seconds: float, awaited: Any) -> Any:
    """The result, or a failure instead of a test that hangs."""
    return await asyncio.wait_for(asyncio.ensure_future(awaited), seconds)


async def test_short_calls_whose_answers_are_of_any_size_keep_their_worker() -> None:
    """Answers of short calls go together, and so do their arguments, in packets that are not cut."""
    for _ in range(100):  # known to be short, so that the worker has many at once
        await work.gives(1)
        await work.takes(b"")
    lost = work.odd.statistics().lost
    sizes = [(30 << 10) - 64, 60 << 10] * 20
    got = await within(20, asyncio.gather(*(work.gives(size) for size in sizes)))
    assert [len(each) for each in got] == sizes
    assert await within(20, asyncio.gather(*(work.takes(b"x" * size) for size in sizes))) == sizes
    assert work.odd.statistics().lost == lost


async def test_a_long_error_of_wide_letters_keeps_its_worker() -> None:
    lost = work.odd.statistics().lost
    with pytest.raises((ValueError, RemoteError)):
        await within(10, work.fails_at_length(9000))
    with pytest.raises(ValueError, match="\U0001f5fb"):
        await within(10, work.fails_at_length(1500))
    assert work.odd.statistics().lost == lost


async def test_what_ends_the_program_that_reads_it_ends_no_pool() -> None:
    with pytest.raises(RemoteError, match="did not unpickle here: SystemExit"):
        await within(10, work.gives_what_ends_its_reader())
    with pytest.raises(RemoteError, match="ErrorThatEndsItsReader"):
        await within(10, work.raises_what_ends_its_reader())
    assert await within(10, work.takes(b"x")) == 1


async def test_a_module_that_exits_where_a_worker_imports_it_ends_no_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    (tmp_path / "exits_elsewhere.py").write_text(
        "import os, sys\n"
        "from mountain_runtime import On, blocking\n"
        "from tests.pools import odd_work\n"
        "if os.environ.get('MOUNTAIN_TEST_HOME') != str(os.getpid()):\n    sys.exit('not here')\n"
        "@blocking(On(odd_work.alone))\ndef one() -> int:\n    return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MOUNTAIN_TEST_HOME", str(os.getpid()))
    module = importlib.import_module("exits_elsewhere")
    async with work.alone:
        with pytest.raises(RemoteError, match="SystemExit: not here"):
            await module.one()
        assert await work.pid_alone() != os.getpid()


async def test_a_fork_within_a_function_answers_once_and_serves_nothing() -> None:
    for function in (work.forks_and_returns, work.forks_in_a_coroutine):
        child = await within(10, function())
        assert child > 0
        for _ in range(500):
            stat = Path(f"/proc/{child}/stat")
            if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
                break
            await asyncio.sleep(0.01)  # real: the child ends by itself
        else:
            pytest.fail("the child of a fork goes on as a worker")
    assert await within(10, asyncio.gather(*(work.takes(b"x" * n) for n in range(50)))) == list(range(50))


async def test_a_function_that_closes_all_files_ends_its_worker() -> None:
    with pytest.raises(WorkerLost):
        await within(5, work.closes_all_files())
    assert await within(5, work.takes(b"x")) == 1


async def test_a_worker_has_no_more_threads_than_it_runs_calls() -> None:
    before = await work.threads()
    for _ in range(10):
        await asyncio.gather(*(call for _ in range(8) for call in (work.steps(), work.threads())))
    assert await work.threads() <= before + 3


def test_a_long_command_line_starts_workers(tmp_path: Path) -> None:
    (tmp_path / "long_line.py").write_text(
        "import asyncio, os\n"
        "from mountain_runtime import On, blocking, pools\n"
        "pool = pools.Processes(1)\n"
        "@blocking(On(pool))\ndef pid() -> int:\n    return os.getpid()\n"
        "async def main():\n    async with pool:\n        print(await pid() != os.getpid())\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    arguments = [sys.executable, "long_line.py", *("a name of a file" * 100 for _ in range(400))]
    ran = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


@pytest.mark.parametrize("of", ["socketpair", "memfd_create", "dup"])
async def test_a_worker_for_which_no_file_is_left_is_an_error(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then, as descriptors are free again, one starts."""

    def refuses(*_: object, **__: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    work.alone._running()  # its loop has descriptors of its own
    with monkeypatch.context() as patch:
        patch.setattr(socket if of == "socketpair" else os, of, refuses)
        with pytest.raises(NoWorkers, match="Too many open files"):
            await within(5, work.pid_alone())
    async with work.alone:
        assert await within(5, work.pid_alone()) != os.getpid()
    assert work.alone.statistics().workers == 0


async def test_calls_that_were_cancelled_take_no_place_among_those_that_wait() -> None:
    async with work.crowded as pool:
        await work.sleeps_crowded(0)
        at_work = asyncio.ensure_future(work.sleeps_crowded(0.3))
        await asyncio.sleep(0.05)  # real: so that the worker has it
        for _ in range(10):
            with pytest.raises(TimedOut):
                await work.sleeps_crowded(0).under(Timeout(0.001))
        assert pool.statistics().waiting == 0
        await at_work
        assert await work.sleeps_crowded(0) != os.getpid()


async def test_a_pool_whose_worker_has_not_begun_closes_at_once(tmp_path: Path) -> None:
    """A worker that still imports has nothing to shut down."""
    (tmp_path / "slow_start.py").write_text(
        "import asyncio, os, time\n"
        "from mountain_runtime import On, Timeout, blocking, pools\n"
        "if __name__ != '__main__':\n    time.sleep(60)\n"
        "pool = pools.Processes(1)\n"
        "@blocking(Timeout(0.3), On(pool))\ndef pid() -> int:\n    return os.getpid()\n"
        "async def main():\n"
        "    try:\n        await pid()\n    except TimeoutError:\n        print('timed out')\n"
        "    began = time.monotonic()\n    await pool._close(10)\n    print(time.monotonic() - began < 5)\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "slow_start.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ran.stdout, ran.stderr) == ("timed out\nTrue\n", "")


async def test_a_cancel_that_comes_while_a_worker_looks_for_the_function_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker lives, and the function does not begin."""
    import importlib

    (tmp_path / "slow_to_find.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from mountain_runtime import On, blocking, effect\n"
        "from tests.pools import odd_work\n"
        "if os.environ.get('MOUNTAIN_TEST_HOME') != str(os.getpid()):\n    time.sleep(0.3)\n"
        "@blocking(On(odd_work.wide))\ndef one(path: str) -> None:\n    Path(path).touch()\n    time.sleep(1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MOUNTAIN_TEST_HOME", str(os.getpid()))
    await work.wide._close(5)
    module = importlib.import_module("slow_to_find")
    before = await work.steps()
    with pytest.raises(TimedOut):
        await module.one(str(tmp_path / "ran")).under(Timeout(0.1))
    assert not (tmp_path / "ran").exists()
    assert await work.steps() == before


async def test_a_closed_pool_has_no_thread_left() -> None:
    """One that comes back from native code while the interpreter ends would abort the program."""
    for _ in range(5):
        assert await work.pid_alone() != os.getpid()
        await work.alone._close(5)
        assert [thread.name for thread in threading.enumerate() if thread.name == "mountain-pool-alone"] == []
