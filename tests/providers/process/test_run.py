"""`process.run`: output, exit codes, failures, limits."""

import asyncio
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from mountain_runtime import Err, Ok, Retry, Timeout, _native, constant, gather, process
from mountain_runtime.errors import ConfigError, TimedOut
from tests.providers.process.support import PYTHON, eventually, lives, nothing_left, pids, shell, within


async def test_it_gives_what_the_program_wrote_and_its_code() -> None:
    done = await process.run(*shell("echo out; echo err >&2; exit 3"), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert repr(done) == "<Completed returncode=3 stdout=4 bytes stderr=4 bytes>"


async def test_another_code_than_zero_is_an_error_with_the_output() -> None:
    with pytest.raises(subprocess.CalledProcessError) as info:
        await process.run(*shell("echo out; echo err >&2; exit 3"))
    e = info.value
    assert (e.returncode, e.cmd, e.output, e.stderr) == (
        3,
        list(shell("echo out; echo err >&2; exit 3")),
        b"out\n",
        b"err\n",
    )


async def test_a_signal_is_a_negative_code() -> None:
    done = await process.run(*shell("kill -USR1 $$"), check=False)
    assert done.returncode == -signal.SIGUSR1


async def test_input_and_output_of_any_size_at_once() -> None:
    data = os.urandom(1 << 20) * 8
    async with nothing_left():
        done = await process.run("cat", input=data)
    assert done.stdout == data


async def test_input_that_nobody_reads_is_no_failure() -> None:
    done = await process.run("true", input=b"x" * (1 << 20))
    assert done.returncode == 0


async def test_without_input_there_is_nothing_to_read() -> None:
    assert (await process.run("cat")).stdout == b""


async def test_both_streams_at_once_do_not_block_each_other() -> None:
    script = "for s in out, err:\n s.write(b'x' * 3_000_000)"
    done = await process.run(PYTHON, "-c", f"import sys\nout, err = sys.stdout.buffer, sys.stderr.buffer\n{script}")
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)


def refusal(**options: object) -> OSError:
    """The error that `subprocess` raises for the same."""
    argv = options.pop("argv")
    with pytest.raises(OSError) as info:
        subprocess.run(argv, check=True, **options)  # type: ignore[call-overload]
    return info.value


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["mountain-no-such-program"], None),
        (["/no/such/program"], None),
        (["/etc/passwd"], None),
        (["true"], "/no/such/folder"),
        (["true"], "/etc/passwd"),
    ],
)
async def test_what_cannot_be_started_fails_as_with_subprocess(argv: list[str], folder: str | None) -> None:
    async with nothing_left():
        with pytest.raises(OSError) as info:
            await process.run(*argv, cwd=folder)
    theirs = refusal(argv=argv, cwd=folder)
    ours = info.value
    assert (type(ours), ours.errno, ours.strerror, ours.filename) == (
        type(theirs),
        theirs.errno,
        theirs.strerror,
        theirs.filename,
    )


async def test_a_script_without_an_interpreter_is_an_exec_format_error(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo no\n")
    script.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        await process.run(script)


async def test_the_environment_and_the_folder_are_the_child_s(tmp_path: Path) -> None:
    done = await process.run("/usr/bin/env", cwd=tmp_path, env={"A": "b=c", "U": "\udcff"})
    assert done.stdout == b"A=b=c\nU=\xff\n"
    assert (await process.run("pwd", cwd=tmp_path)).stdout.decode().strip() == str(tmp_path.resolve())


async def test_the_environment_is_this_one_s_when_the_effect_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOUNTAIN", "then")
    it = process.run(*shell("echo $MOUNTAIN"))
    monkeypatch.setenv("MOUNTAIN", "now")
    assert (await it).stdout == b"then\n"


async def test_a_program_is_looked_for_in_the_path_of_its_environment(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "mine").chmod(0o755)
    assert (await process.run("mine", env={"PATH": f"/nowhere:{tmp_path}"})).stdout == b"mine\n"


def test_what_no_process_can_be_given_is_said_where_it_is_written() -> None:
    for call in (
        process.run,
        process.open,
        lambda: process.run("true", max_output=0),
        lambda: process.run("a\0b"),
        lambda: process.run("true", env={"a=b": "c"}),
        lambda: process.run("true", env={"a": "b\0c"}),
    ):
        with pytest.raises(ValueError, match=r"program|max_output|null byte|environment"):
            call()
    with pytest.raises(ConfigError):
        process.run()


async def test_too_much_output_ends_the_group_and_says_so() -> None:
    async with nothing_left():
        with within(), pytest.raises(subprocess.SubprocessError, match="max_output=100000 bytes"):
            await process.run("yes", max_output=100_000)
    assert len((await process.run(*shell("head -c 1000 /dev/zero"), max_output=1000)).stdout) == 1000


async def test_a_timeout_kills_the_whole_group_and_keeps_the_partial_output(tmp_path: Path) -> None:
    script = f"echo part; (echo $$; exec sleep 1000) >> {tmp_path}/pids & echo $! >> {tmp_path}/pids; sleep 1000"
    async with nothing_left():
        with within(), pytest.raises(TimedOut) as info:
            await process.run(*shell(script)).under(Timeout(0.3))
    cause = info.value.__cause__
    assert isinstance(cause, subprocess.TimeoutExpired)
    assert (cause.cmd, cause.output, cause.stderr) == (list(shell(script)), b"part\n", b"")
    assert 0.2 < cause.timeout < 5
    for pid in pids(tmp_path / "pids", 2):
        assert eventually(lambda pid=pid: not lives(pid))  # type: ignore[misc]


async def test_a_cancel_kills_the_whole_group_before_it_ends(tmp_path: Path) -> None:
    task = asyncio.ensure_future(
        process.run(*shell(f"sleep 1000 & echo $$ $! > {tmp_path}/p; mv {tmp_path}/p {tmp_path}/pids; wait"))
    )
    while not (tmp_path / "pids").exists():
        await asyncio.sleep(0.005)  # real: the shell is
    leader, other = (int(n) for n in (tmp_path / "pids").read_text().split())
    async with nothing_left():
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):  # reaped, not only killed
            os.kill(leader, 0)
        assert eventually(lambda: not lives(other))


async def test_output_of_who_outlives_the_program_is_waited_for() -> None:
    done = await process.run(*shell("(sleep 0.1; echo late) & echo soon"))
    assert done.stdout == b"soon\nlate\n"


async def test_who_left_its_output_is_killed_with_its_group(tmp_path: Path) -> None:
    done = await process.run(*shell("sleep 1000 > /dev/null 2>&1 & echo $!"))
    assert eventually(lambda: not lives(int(done.stdout)))


async def test_retries_and_other_policies_stay_native(tmp_path: Path) -> None:
    it = process.run("mountain-no-such-program").under(Retry(on=OSError, attempts=3, backoff=constant(0)))
    assert _native.is_native(it)
    with pytest.raises(FileNotFoundError) as info:
        await it
    assert any("attempted 3 times" in note for note in info.value.__notes__)


async def test_failures_compose() -> None:
    match await process.run("false").attempt(subprocess.CalledProcessError, OSError):
        case Err(error=e):
            assert isinstance(e, subprocess.CalledProcessError)
        case Ok():
            pytest.fail("it failed")
    a, b = await gather(process.run("echo", "a"), process.run("echo", "b"))
    assert (a.stdout, b.stdout) == (b"a\n", b"b\n")


async def test_an_effect_runs_its_program_anew_each_time() -> None:
    it = process.run(*shell("echo $$"))
    assert (await it).stdout != (await it).stdout


async def test_exit_codes_are_right_on_every_loop_and_thread() -> None:
    """P1: 500 of them, on this loop and on one in another thread."""

    async def codes(count: int) -> list[int]:
        done = await asyncio.gather(*[process.run(*shell(f"exit {n % 256}"), check=False) for n in range(count)])
        return [each.returncode for each in done]

    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(codes(250))))
    async with nothing_left():
        thread.start()
        assert await codes(250) == list(range(250))
        while thread.is_alive():
            await asyncio.sleep(0.01)  # real: the other loop is
        assert found == list(range(250))


async def test_nothing_of_yes_and_head_is_heard() -> None:
    """P4: `yes` gets a SIGPIPE, which Python ignores and a child must not."""
    done = await process.run(*shell("yes | head -1"))
    assert (done.stdout, done.stderr) == (b"y\n", b"")
