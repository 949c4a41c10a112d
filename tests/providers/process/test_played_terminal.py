"""`process.terminal` of one program, as a process and as a fake."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from mountain_runtime import process
from tests.providers.process.playing import KINDS, played, program
from tests.providers.process.support import SOON, nothing_left, within


@pytest.fixture(params=KINDS, autouse=True)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    with played(request.param):
        yield request.param


async def shows(t: process.Terminal, text: str) -> None:
    """Waits until the screen has it."""
    async with asyncio.timeout(SOON):
        while text not in t.screen():
            await asyncio.sleep(0.005)  # real: so may be the program


async def test_what_is_typed() -> None:
    async with nothing_left():
        async with process.terminal(*program("echo")) as t:
            await t.write("w\u00e4x".encode() + b"\x7f\x7ford\r")  # each erases a character of any length
            await shows(t, "word\nword")
            await t.write(b"one two three\x17four\x01\x15last\r")  # a word, then all of it
            await shows(t, "last\nlast")
            assert t.screen() == "word\nword\nlast\nlast"
            await t.close_stdin()
            assert await t.wait() == 0
            with pytest.raises(BrokenPipeError, match="reads no more"):
                await t.write(b"x")


async def test_keys_that_are_signals() -> None:
    for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)):
        async with process.terminal(*program("sized")) as t:
            await t.receive()
            await t.write(b"ab" + key)
            assert await t.wait() == -number


async def test_a_terminal_that_is_raw_gives_every_key() -> None:
    async with process.terminal(*program("keys")) as t:
        await shows(t, "raw")
        await t.write(b"a\x03\r\x04\x7fq")
        assert await t.wait() == 0
        assert t.screen() == "raw\n61 03 0d 04 7f 71"


async def test_its_size_and_new_ones() -> None:
    async with process.terminal(*program("sized"), columns=20, rows=5) as t:
        await shows(t, "20 x 5")
        t.resize(31, 9)
        await shows(t, "31 x 9")
    with pytest.raises(ProcessLookupError):
        t.resize(80, 24)


async def test_the_screen_is_what_a_person_would_see() -> None:
    drawn = r"one\ntwo\x1b[31m red\x1b[m\n\x1b[1;5Hhere\x1b[4;1Hnot this\rand this"
    async with process.terminal(*program("say", drawn), columns=12) as t:
        assert await t.wait() == 0
        assert t.screen() == "one here\ntwo red\n\nand this"


async def test_a_program_that_asks_where_its_cursor_is() -> None:
    async with process.terminal(*program("cursor")) as t:
        assert await t.wait() == 0
        assert t.screen() == "ab" + b"\x1b[1;3R".hex(" ")


async def test_200_kilobytes_and_an_exit_lose_no_byte() -> None:
    async with nothing_left():
        for reads_at_once in (True, False):
            async with process.terminal(*program("write", 100, 2048)) as t:
                if not reads_at_once:
                    assert await t.wait() == 3
                assert sum([len(chunk) async for chunk in t.chunks()]) == 100 * 2049  # \r\n
                assert await t.wait() == 3


async def test_its_lines_have_no_line_ends() -> None:
    async with process.terminal(*program("say", r"a\n\nb\rc\nd")) as t:
        assert [line async for line in t.lines()] == [b"a", b"", b"b\rc", b"d"]


async def test_a_wait_needs_no_reader() -> None:
    async with process.terminal(*program("write", 1000, 1000), columns=10) as t:
        assert await t.wait() == 3
        with pytest.raises(ValueError, match="went to the screen alone"):
            await t.receive()


async def test_a_wait_beside_a_reader_leaves_it_every_byte() -> None:
    async with process.terminal(*program("write", 1000, 1000)) as t:
        lines = t.lines()
        await anext(lines)
        waiting = asyncio.ensure_future(t.wait())
        await asyncio.sleep(0.1)  # real: time to write what there is room for
        assert not waiting.done()
        assert sum([1 async for _ in lines]) == 999
        assert await waiting == 3


async def test_how_a_block_ends_it() -> None:
    async with nothing_left():
        async with process.terminal(*program("sized")) as t:
            await t.receive()
        assert await t.wait() in (-signal.SIGTERM, -signal.SIGHUP)  # it gets both
        with within(SOON):
            async with process.terminal(*program("deaf")) as t:
                await shows(t, "deaf")
                await t.write(b"\x03\x04")
        assert await t.wait() == -signal.SIGKILL
        with pytest.raises(KeyError):
            async with process.terminal(*program("deaf")) as t:
                await shows(t, "deaf")
                raise KeyError
        assert await t.wait() == -signal.SIGKILL
