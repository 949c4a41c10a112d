"""Programs that flood, write without line ends, close their terminal, or leave children that write on."""

import asyncio
import signal
import subprocess
import sys

import pytest

from mountain_runtime import process, sidecar
from tests.providers.process.support import PYTHON, nothing_left, shell


async def test_what_is_sent_after_the_end_of_its_stdin_is_refused() -> None:
    async with process.open(*shell("sleep 0.1; cat >/dev/null; sleep 1000")) as p:
        calls = [p.send(b"x" * (1 << 20)), p.close_stdin(), p.send(b"late"), p.close_stdin()]
        async with asyncio.timeout(5):
            first, end, late, again = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, end, again) == (None, None, None)
        assert isinstance(late, BrokenPipeError)
        p.signal(signal.SIGKILL)


#: One child of the shell, which no signal but SIGKILL ends, writes on when the shell has ended.
WRITES_ON = r"trap '' HUP TERM; (exec yes $(printf '\033[2J')) & sleep 0.05; exit 3"


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
async def test_a_wait_ends_with_the_program_though_its_children_write_on(*, read: bool) -> None:
    async with nothing_left():
        async with process.terminal(*shell(WRITES_ON), columns=100, rows=100) as t:
            waiting = asyncio.ensure_future(t.wait())
            async with asyncio.timeout(5):
                while read and not waiting.done():
                    await anext(t.chunks())
                assert await waiting == 3
            t.signal(signal.SIGKILL)


async def test_a_screen_that_is_looked_at_needs_no_reader() -> None:
    async with process.terminal(*shell("seq 100000; printf 'done> '; sleep 1000")) as t:
        async with asyncio.timeout(5):
            while "done> " not in t.screen() + " ":
                await asyncio.sleep(0.005)  # real: so is the program
        with pytest.raises(ValueError, match=r"went to the screen alone: .* or screen\(\) came before"):
            await t.receive()
        t.signal(signal.SIGKILL)


async def test_a_screen_that_is_looked_at_leaves_a_reader_every_byte() -> None:
    async with process.terminal("seq", "200000") as t:
        lines = t.lines()
        seen = [await anext(lines)]
        async for line in lines:
            seen.append(line)
            if len(seen) % 5000 == 0:
                t.screen()
        assert seen == [b"%d" % n for n in range(1, 200_001)]


async def test_a_terminal_that_is_closed_and_opened_again() -> None:
    """As `login` does it."""
    closes = "exec 0<&- 1>&- 2>&-; sleep 0.1; exec </dev/tty >/dev/tty 2>&1; echo again; stty size; exit 4"
    async with nothing_left():
        async with process.terminal(*shell(closes)) as t:
            await asyncio.sleep(0.05)  # real: it has closed it
            t.resize(70, 30)
            assert [line async for line in t.lines()] == [b"again", b"30 70"]
            assert await t.wait() == 4
            assert t.screen() == "again\n30 70"


async def test_the_output_of_one_that_has_closed_its_terminal_ends_with_it() -> None:
    async with nothing_left():
        async with process.terminal(*shell("exec 0<&- 1>&- 2>&-; exit 4")) as t:
            async with asyncio.timeout(5):
                assert [chunk async for chunk in t.chunks()] == []
            assert await t.wait() == 4


FORKS = """
import asyncio, os, sys
from mountain_runtime import process

async def drain(p):
    async for _ in p.chunks():
        pass

async def main():
    async with process.terminal("yes") as t, process.open("yes") as p, process.open("cat") as c:
        draining = [asyncio.ensure_future(drain(t)), asyncio.ensure_future(drain(p))]
        here = {os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)}
        for n in range(30):
            await asyncio.sleep(n % 7 / 2000)
            child = os.fork()
            if child == 0:
                pipes = 0
                for name in os.listdir("/proc/self/fd"):
                    try:
                        target = os.readlink(f"/proc/self/fd/{name}")
                    except FileNotFoundError:
                        continue
                    pipes += target.startswith(("pipe:", "/dev/ptmx", "/dev/pts/ptmx")) and target not in here
                os._exit(pipes)
            assert os.waitpid(child, 0)[1] == 0
        for each in draining:
            each.cancel()
    print("free")

asyncio.run(main())
"""


def test_a_child_that_is_forked_amid_a_flood_holds_no_pipe_and_no_terminal() -> None:
    if sys.platform != "linux":
        return
    done = subprocess.run([PYTHON, "-W", "ignore", "-c", FORKS], capture_output=True, timeout=40, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"free\n", b"")


async def test_a_line_without_end_is_refused_and_its_bytes_can_be_read() -> None:
    size = 70 << 20
    async with nothing_left():
        async with process.open("head", "-c", str(size), "/dev/zero") as p:
            for _ in range(2):
                with pytest.raises(ValueError, match=r"a line of more than 64 MiB: read it by chunks\(\)"):
                    await p.receive()
            seen = 0
            async for chunk in p.chunks():
                seen += len(chunk)
            assert seen == size


async def test_a_sidecar_that_is_ready_by_its_stderr_leaves_a_prompt_to_its_user() -> None:
    """A line of stdout that was asked for before is asked for no longer."""
    script = "echo first; sleep 0.05; echo ready >&2; printf 'prompt> '; read line; echo answer; read end"
    async with nothing_left():
        async with sidecar(*shell(script), ready=lambda line: line == "ready")() as p:
            seen = b""
            async with asyncio.timeout(5):
                async for chunk in p.chunks():
                    seen += chunk
                    if seen.endswith(b"prompt> "):
                        break
                await p.send(b"go")
                assert await p.receive() == b"answer"


async def test_a_sidecar_that_is_ready_keeps_no_more_of_its_stdout_than_others() -> None:
    """One that writes without line ends, which no call asks for, waits for a reader."""
    writes = "sys.stderr.write('ready\\n'); sys.stdout.write('x' * (80 << 20) + '\\nend\\n')"
    script = f"import sys; {writes}; sys.stdin.read()"
    async with sidecar(PYTHON, "-c", script, ready=lambda line: line == "ready")() as p:
        await asyncio.sleep(0.2)  # real: the pipe fills
        with pytest.raises(ValueError, match="a line of more than 64 MiB"):
            await p.receive()
        seen = 0
        async for chunk in p.chunks():
            seen += len(chunk)
            if chunk.endswith(b"end\n"):
                break
        assert seen == (80 << 20) + 5
