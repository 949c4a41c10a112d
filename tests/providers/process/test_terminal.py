"""`process.terminal`: the screen, what is typed, sizes, and the end of a session."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mountain_runtime import Runtime, _native, process
from mountain_runtime.errors import ConfigError
from tests.providers.process import cancelled
from tests.providers.process.support import PYTHON, SOON, eventually, lives, nothing_left, pids, shell, within

#: Takes every signal that can be taken, and reads nothing.
IGNORES = """
import signal, time
for each in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(each, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(1000)
"""


async def shows(t: process.Terminal, text: str) -> None:
    """Waits until the screen has it."""
    async with asyncio.timeout(SOON):
        while text not in t.screen():
            await asyncio.sleep(0.005)  # real: so is the program


async def test_a_program_takes_it_for_the_terminal_in_front_of_a_person(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("COLUMNS", "LINES", "TERM"):
        monkeypatch.setenv(name, "7")
    asks = "test -t 0 && test -t 1 && test -t 2 && stty size </dev/tty; echo $TERM $COLUMNS$LINES; pwd"
    async with nothing_left():
        async with process.terminal(*shell(asks), columns=60, rows=7, cwd=tmp_path) as t:
            assert await t.wait() == 0
            assert t.screen().replace("\n", "") == f"7 60xterm-256color{tmp_path}"
        assert "xterm" in t.screen()  # the last that it showed


async def test_it_leads_a_session_whose_foreground_it_has() -> None:
    asks = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0), os.tcgetpgrp(0))"
    async with process.terminal(PYTHON, "-c", asks) as t:
        assert (await t.receive()).split() == [b"%d" % t.pid] * 4


async def test_the_screen_is_what_a_person_would_see() -> None:
    script = r"printf 'one\ntwo\033[31m red\033[m\n'; printf '\033[1;5Hhere\033[4;1H'; printf 'not this\rand this'"
    async with process.terminal(*shell(script), columns=12) as t:
        await t.wait()
        assert t.screen() == "one here\ntwo red\n\nand this"


async def test_200_kilobytes_and_an_exit_lose_no_byte() -> None:
    """P4."""
    script = "import sys; sys.stdout.write('x' * (200 << 10)); sys.exit(3)"
    async with nothing_left():
        for reads_at_once in (True, False):
            async with process.terminal(PYTHON, "-S", "-c", script) as t:
                if not reads_at_once:
                    assert await t.wait() == 3
                assert sum([len(chunk) async for chunk in t.chunks()]) == 200 << 10
                assert await t.wait() == 3


async def test_all_bytes_are_there_before_the_end_is_told() -> None:
    """V7: 20,480 of them, 100 times."""
    async with nothing_left():
        for _ in range(100):
            async with process.terminal("head", "-c", "20480", "/dev/zero") as t:
                assert await t.wait() == 0
                assert await t._child.next("chunk") == b"\0" * 20_480


async def test_a_shell_that_exits_while_it_is_read_ends_the_stream() -> None:
    """V8: the system says EIO there."""
    async with nothing_left():
        for _ in range(20):
            async with process.terminal("sh") as t:
                reading = asyncio.ensure_future(anext(t.lines()))
                await asyncio.sleep(0)
                await t.write(b"exit\r")
                await reading
                async for _ in t.chunks():
                    pass
                assert await t.wait() == 0
                with pytest.raises(BrokenPipeError, match="reads no more"):
                    await t.write(b"x")


async def test_its_lines_have_no_line_ends() -> None:
    async with process.terminal("printf", "a\\n\\nb\\rc\\nd") as t:
        assert [line async for line in t.lines()] == [b"a", b"", b"b\rc", b"d"]


async def test_a_wait_needs_no_reader() -> None:
    async with process.terminal("seq", "100000") as t:
        with within():
            assert await t.wait() == 0
        assert t.screen().splitlines()[-1] == "100000"
        with pytest.raises(ValueError, match="went to the screen alone"):
            await t.receive()


async def test_the_end_is_told_when_all_is_drawn() -> None:
    script = r"import sys; sys.stdout.write('\033[2J' * 200 + 'the end')"
    async with process.terminal(PYTHON, "-S", "-c", script, columns=500, rows=500) as t:
        assert await t.wait() == 0
        assert t.screen().endswith("the end")


async def test_a_wait_beside_a_reader_leaves_it_every_byte() -> None:
    async with process.terminal("seq", "200000") as t:
        lines = t.lines()
        seen = [await anext(lines)]
        waiting = asyncio.ensure_future(t.wait())
        await asyncio.sleep(0.1)  # real: time to write what there is room for
        assert not waiting.done()
        seen += [line async for line in lines]
        assert (len(seen), seen[-1]) == (200_000, b"200000")
        assert await waiting == 0


async def test_a_new_size_is_told() -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    async with process.terminal(*shell(script), columns=20, rows=5) as t:
        await shows(t, "ready")
        t.resize(31, 9)
        await shows(t, "9 31")
        t.resize(1, 1)
        t.resize(1000, 1000)
        await shows(t, "1000 1000")
    with pytest.raises(ProcessLookupError):
        t.resize(80, 24)


@pytest.mark.parametrize(
    ("columns", "rows"), [(0, 0), (0, 24), (80, 0), (-1, 24), (65_535, 65_535), (1 << 70, 24), (80, 1001)]
)
async def test_sizes_that_no_terminal_has(columns: int, rows: int) -> None:
    with pytest.raises(ConfigError, match=r"process\.terminal\((columns|rows)=-?\d+\): must be"):
        process.terminal("true", columns=columns, rows=rows)
    async with process.terminal("sleep", "1000") as t:
        with pytest.raises(ConfigError, match=r"Terminal\.resize\((columns|rows)=-?\d+\): must be"):
            t.resize(columns, rows)
        with pytest.raises((ValueError, OverflowError)):
            t._child.resize(columns, rows)
        t.signal(signal.SIGKILL)


async def test_what_is_no_number_or_no_bytes() -> None:
    with pytest.raises(ConfigError, match=r"process\.terminal\(columns='80'\): must be .*convert a text by int\(\)"):
        process.terminal("true", columns="80")  # type: ignore[arg-type]
    async with process.terminal("cat") as t:
        with pytest.raises(TypeError, match=r"write\(\) takes bytes, not str: write write\(text\.encode\(\)\)"):
            await t.write("text")  # type: ignore[arg-type]


async def test_what_cannot_be_started() -> None:
    async with nothing_left():
        for argv, cwd in (("mountain-no-such-program", None), ("true", "/no/such/folder")):
            with pytest.raises(FileNotFoundError) as caught:
                async with process.terminal(argv, cwd=cwd):
                    pass
            assert caught.value.filename == (cwd or argv)


async def test_what_is_typed() -> None:
    async with process.terminal("cat") as t:
        await t.write("w\u00e4x".encode() + b"\x7f\x7ford\r")  # each erases a character of any length
        await shows(t, "word\nword")
        await t.close_stdin()
        assert await t.wait() == 0
    async with process.terminal("sleep", "1000") as t:
        await t.write(b"\x03")
        assert await t.wait() == -signal.SIGINT


async def test_a_write_waits_for_a_program_that_does_not_read_and_can_be_given_up() -> None:
    async with nothing_left():
        async with process.terminal(*shell("stty raw -echo; echo ready; sleep 1000")) as t:
            await shows(t, "ready")
            for _ in range(2):
                with within(2), pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await t.write(b"y" * (1 << 20))
    async with process.terminal(*shell("stty raw -echo; echo ready; head -c 1000000 | wc -c")) as t:
        await shows(t, "ready")
        await t.write(b"z" * 1_000_000)
        await t.wait()
        assert "1000000" in t.screen()


async def test_a_program_that_asks_where_its_cursor_is() -> None:
    script = r"stty raw -echo; printf 'ab\033[6n'; dd bs=1 count=6 2>/dev/null | od -c"
    async with process.terminal(*shell(script)) as t:
        with within():
            assert await t.wait() == 0
        assert "033   [   1   ;   3   R" in t.screen()


async def test_a_program_that_ignores_everything() -> None:
    async with nothing_left():
        with within(2):
            async with process.terminal(PYTHON, "-S", "-c", IGNORES) as t:
                await shows(t, "deaf")
                await t.write(b"\x03\x1c\x04")
        assert (await t.wait(), lives(t.pid)) == (-signal.SIGKILL, False)


async def test_an_error_in_the_block_kills_at_once() -> None:
    async with nothing_left():
        with pytest.raises(KeyError):
            async with process.terminal(PYTHON, "-S", "-c", IGNORES) as t:
                await shows(t, "deaf")
                began = asyncio.get_running_loop().time()
                raise KeyError
        assert asyncio.get_running_loop().time() - began < 0.4


#: A shell with jobs, each in a group of its own, that hear no signal: one holds the terminal, one does not.
JOBS = """
set -m
(trap '' HUP TERM; sleep 1000) & echo $! >> {file}
(trap '' HUP TERM; exec sleep 1000 </dev/null >/dev/null 2>&1) & echo $! >> {file}
echo $$ >> {file}
{then}
"""


@pytest.mark.parametrize("then", ["exit 0", "wait", "trap '' HUP TERM; wait"])
async def test_the_jobs_of_a_shell_end_with_it(tmp_path: Path, then: str) -> None:
    if sys.platform != "linux":
        return
    async with nothing_left():
        async with process.terminal("bash", "-c", JOBS.format(file=tmp_path / "pids", then=then)):
            known = pids(tmp_path / "pids", 3)
            assert len({os.getpgid(pid) for pid in known if lives(pid)}) >= 2
        assert eventually(lambda: not any(lives(pid) for pid in known))


async def test_a_sweep_takes_the_session(tmp_path: Path) -> None:
    async with nothing_left():
        async with Runtime() as ours:
            script = JOBS.format(file=tmp_path / "pids", then="wait")
            block = process.terminal("bash", "-c", script)
            t = await block.__aenter__()
            known = pids(tmp_path / "pids", 3)
            assert [pid for pid, _ in _native.sweep_groups(ours._number)] == [t.pid]
            assert await t.wait() == -signal.SIGKILL
            await block.__aexit__(None, None, None)
            assert sys.platform != "linux" or eventually(lambda: not any(lives(pid) for pid in known))


async def test_terminals_that_are_cancelled_leave_nothing() -> None:
    """As many as fit here; tests/stress has 1000."""
    await cancelled.check_terminals(96)


async def test_output_that_is_hard_to_draw_holds_no_other_process_up() -> None:
    hard = "import sys\nwhile True: sys.stdout.write('\\033[2J\\033[65535Lx\\033[65535b' * 1000)"
    async with nothing_left():
        async with process.terminal(PYTHON, "-S", "-c", hard, columns=1000, rows=1000) as t:
            for _ in range(5):
                with within(2):
                    await process.run("true")
            with within(2):
                assert isinstance(t.screen(), str)


@pytest.mark.processes
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    if sys.platform != "linux":
        return
    script = JOBS.format(file=tmp_path / "pids", then="trap '' HUP TERM; wait")
    program = (
        "import asyncio\nfrom mountain_runtime import process\n"
        "async def main():\n"
        f" async with process.terminal('bash', '-c', {script!r}) as t:\n"
        "  await asyncio.sleep(1000)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([PYTHON, "-c", program]) as parent:
        known = pids(tmp_path / "pids", 3)
        assert all(lives(pid) for pid in known)
        parent.kill()
    assert eventually(lambda: not any(lives(pid) for pid in known), 2), known
