"""`process.open`: lines and chunks, stdin, signals to the group, and how a block ends."""

import asyncio
import gc
import os
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mountain_runtime import Timeout, _native, deadline, effect, process
from mountain_runtime.errors import TimedOut
from tests.providers.process.support import PYTHON, eventually, lives, nothing_left, pids, shell, within


async def test_a_conversation_in_lines() -> None:
    async with nothing_left():
        async with process.open("cat") as p:
            for line in (b"one", b"two\n", b""):
                await p.send(line)
            assert [await p.receive() for _ in range(3)] == [b"one", b"two", b""]
            assert lives(p.pid)
        assert not lives(p.pid)


async def test_a_line_of_a_megabyte_and_then_the_end() -> None:
    """P2."""
    script = "import sys; sys.stdout.write('x' * (1 << 20) + '\\nend\\n')"
    async with process.open(PYTHON, "-c", script) as p:
        assert [len(line) async for line in p.lines()] == [1 << 20, 3]
    async with process.open(PYTHON, "-c", script) as p:
        assert await p.receive() == b"x" * (1 << 20)
        assert await p.receive() == b"end"


async def test_chunks_have_all_bytes_however_slowly_they_are_read() -> None:
    size = 3 << 20
    async with nothing_left():
        async with process.open(*shell(f"head -c {size} /dev/zero")) as p:
            await asyncio.sleep(0.1)  # real: the child fills what there is room for
            seen = 0
            async for chunk in p.chunks():
                seen += len(chunk)
            assert seen == size
            assert await p.wait() == 0


async def test_a_reader_that_is_slow_holds_the_writer_back() -> None:
    script = "import sys\nfor n in range(100_000):\n print('x' * 99, flush=True); print(n, file=sys.stderr, end='\\r')"
    async with process.open(PYTHON, "-c", script) as p:
        await p.receive()
        await asyncio.sleep(0.3)  # real: time to write all of the ten megabytes
        assert lives(p.pid)
        assert sum([1 async for _ in p.lines()]) == 99_999


async def test_the_last_line_needs_no_end() -> None:
    async with process.open("printf", "a\\n\\nb") as p:
        assert [line async for line in p.lines()] == [b"a", b"", b"b"]


async def test_lines_that_nobody_took_are_the_next_reader_s() -> None:
    async with process.open("printf", "1\\n2\\n3\\n4\\n5") as p:
        async for line in p.lines():
            assert line == b"1"
            break
        assert await p.receive() == b"2"
        assert b"".join([chunk async for chunk in p.chunks()]) == b"3\n4\n5"


async def test_its_end_is_one_error_for_both_directions() -> None:
    async with process.open("true") as p:
        assert await p.wait() == 0
        with pytest.raises(BrokenPipeError, match=r"writes no more: it has ended with 0"):
            await p.receive()
        with pytest.raises(BrokenPipeError, match=r"reads no more: it has ended with 0"):
            await p.send(b"x")
        assert [line async for line in p.lines()] == []
        assert "returncode=0" in repr(p)


async def test_stdin_ends_after_what_was_sent() -> None:
    async with process.open("wc", "-c") as p:
        await asyncio.gather(*[p.send(b"x" * 99_999) for _ in range(10)])
        await p.close_stdin()
        await p.close_stdin()
        assert (await p.receive()).strip() == b"1000000"
        with pytest.raises(BrokenPipeError):
            await p.send(b"x")


async def test_a_send_waits_until_the_pipe_takes_it_and_can_be_given_up() -> None:
    async with process.open("sleep", "1000") as p:
        with pytest.raises(TimedOut):
            await effect(Timeout(0.1))(p.send)(b"x" * (1 << 20))
        with within(1), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await p.send(b"y" * (1 << 20))


async def test_a_receive_that_is_given_up_takes_nothing() -> None:
    async with process.open("cat") as p:
        waiting = asyncio.ensure_future(p.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await p.send(b"for the next")
        assert await p.receive() == b"for the next"


async def test_signals_reach_the_whole_group(tmp_path: Path) -> None:
    async with process.open(*shell(f"trap 'exit 7' USR1; sleep 1000 & echo $! > {tmp_path}/pids; echo; wait")) as p:
        await p.receive()
        (other,) = pids(tmp_path / "pids", 1)
        # Before it is `sleep` it has the shell's traps for a moment.
        command = ["ps", "-o", "comm=", "-p", str(other)]
        assert eventually(lambda: subprocess.check_output(command, text=True).strip() == "sleep")
        p.signal(signal.SIGUSR1)
        assert await p.wait() == 7
        assert eventually(lambda: not lives(other))
        assert await p.wait() == 7
    with pytest.raises(ProcessLookupError):
        p.signal(signal.SIGTERM)


async def test_leaving_asks_the_group_to_end_and_waits() -> None:
    async with nothing_left():
        with within(0.4):
            async with process.open(*shell("trap 'exit 3' TERM; echo; while :; do sleep 0.02; done")) as p:
                await p.receive()
        assert await p.wait() == 3


async def test_who_ignores_the_request_is_killed_after_half_a_second() -> None:
    async with nothing_left():
        with within(2):
            async with process.open(*shell("trap '' TERM; echo; while :; do sleep 0.02; done")) as p:
                await p.receive()
        assert await p.wait() == -signal.SIGKILL


async def test_an_error_and_a_cancel_in_the_block_kill_at_once(tmp_path: Path) -> None:
    ignoring = shell(f"trap '' TERM; sleep 1000 & echo $! >> {tmp_path}/pids; echo; while :; do sleep 0.02; done")
    async with nothing_left():
        with within(0.4), pytest.raises(KeyError):
            async with process.open(*ignoring) as p:
                await p.receive()
                raise KeyError
        assert await p.wait() == -signal.SIGKILL
        with within(1.5), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), process.open(*ignoring) as p:
                await asyncio.Event().wait()
        with within(1.5), pytest.raises(TimedOut):  # the limit has passed already when the block ends
            async with deadline(0.5), process.open(*ignoring) as p:
                await asyncio.Event().wait()
    for pid in pids(tmp_path / "pids", 3):
        assert eventually(lambda pid=pid: not lives(pid))  # type: ignore[misc]


async def test_a_cancel_while_a_block_ends_kills_and_waits() -> None:
    left = asyncio.Event()

    async def talk() -> None:
        async with process.open(*shell("trap '' TERM; echo; while :; do sleep 0.02; done")) as p:
            await p.receive()
            left.set()

    async with nothing_left():
        task = asyncio.ensure_future(talk())
        await left.wait()
        await asyncio.sleep(0.05)  # real: the group has had its SIGTERM
        task.cancel()
        with within(0.4), pytest.raises(asyncio.CancelledError):
            await task


async def test_who_left_the_group_s_output_is_ended_too(tmp_path: Path) -> None:
    script = f"sleep 1000 > /dev/null 2>&1 & echo $! > {tmp_path}/pids"
    async with process.open(*shell(script)) as p:
        assert await p.wait() == 0
    (other,) = pids(tmp_path / "pids", 1)
    assert eventually(lambda: not lives(other))


async def test_output_that_nobody_reads_does_not_hold_up_the_end() -> None:
    async with nothing_left():
        with within(2):
            async with process.open("yes"):
                await asyncio.sleep(0.05)  # real: the pipe fills


async def test_one_that_left_the_group_and_holds_the_pipe_does_not_hold_up_the_end(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nif os.fork() == 0:\n os.setsid()\n"
        " open(sys.argv[1], 'w').write(f'{os.getpid()}\\n')\n time.sleep(60)\nos.wait()"
    )
    async with nothing_left():
        with within(3):
            async with process.open(PYTHON, "-c", script, tmp_path / "pids"):
                (free,) = await asyncio.to_thread(pids, tmp_path / "pids", 1)
        assert lives(free), "what leaves the group is its own"
        os.kill(free, signal.SIGKILL)


async def test_what_cannot_be_started_is_an_error_of_the_block() -> None:
    async with nothing_left():
        with pytest.raises(FileNotFoundError) as info:
            async with process.open("mountain-no-such-program"):
                pytest.fail("it cannot begin")
        assert info.value.filename == "mountain-no-such-program"


async def test_many_at_once() -> None:
    async with nothing_left(), AsyncExitStack() as stack:
        all_of_them = [await stack.enter_async_context(process.open("cat")) for _ in range(50)]
        await asyncio.gather(*[p.send(b"%d" % p.pid) for p in all_of_them])
        assert [int(await p.receive()) for p in all_of_them] == [p.pid for p in all_of_them]


async def test_one_that_nobody_holds_any_more_is_killed() -> None:
    async with nothing_left():
        child = await _native.process_open(("sleep", "1000"), None, None, False, None)
        pid = child.pid
        del child
        await asyncio.sleep(0.01)  # the loop lets go of the await
        gc.collect()
        assert eventually(lambda: not lives(pid))
