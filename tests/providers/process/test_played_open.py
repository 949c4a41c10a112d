"""`process.run` and `process.open` of one program, as a process and as a fake, so that these stay alike."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator

import pytest

from mountain_runtime import Runtime, Timeout, effect, errors, process
from tests.providers.process.playing import KINDS, played, program
from tests.providers.process.support import SOON, nothing_left, within


@pytest.fixture(params=KINDS, autouse=True)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    with played(request.param):
        yield request.param


async def test_a_run_has_its_output_its_errors_and_its_code() -> None:
    done = await process.run(*program("both", 0), input=b"abc")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ABC", b"word\n")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await process.run(*program("both", 3), input=b"abc")
    assert (caught.value.returncode, caught.value.output, caught.value.stderr) == (3, b"ABC", b"word\n")
    with pytest.raises(subprocess.SubprocessError, match="more than max_output=5 bytes"):
        await process.run(*program("both", 0), input=b"abc", max_output=5)
    with pytest.raises(errors.TimedOut):
        await process.run(*program("silent")).under(Timeout(0.1))
    assert len((await process.run(*program("write", 3, 100_000), check=False)).stdout) == 300_000


async def test_a_conversation_in_lines() -> None:
    async with nothing_left():
        async with process.open(*program("echo")) as p:
            for line in (b"one", b"two\n", b""):
                await p.send(line)
            assert [await p.receive() for _ in range(3)] == [b"one", b"two", b""]
            assert "running" in repr(p)
            await p.close_stdin()
            await p.close_stdin()
            assert await p.wait() == 0
            assert "returncode=0" in repr(p)


async def test_its_end_is_one_error_for_both_directions() -> None:
    async with process.open(*program("both", 4)) as p:
        await p.close_stdin()
        assert await p.wait() == 4
        with pytest.raises(BrokenPipeError, match=r"writes no more: it has ended with 4"):
            await p.receive()
        with pytest.raises(BrokenPipeError, match=r"reads no more: it has ended with 4"):
            await p.send(b"x")
        assert [line async for line in p.lines()] == []
        with pytest.raises(ProcessLookupError):
            p.signal(signal.SIGTERM)


async def test_all_bytes_come_however_they_are_read() -> None:
    async with process.open(*program("write", 2, 1 << 20)) as p:
        assert [len(line) async for line in p.lines()] == [(1 << 20) - 1] * 2
        assert await p.wait() == 3
    async with process.open(*program("write", 30, 100_000)) as p:
        assert len(await p.receive()) == 99_999
        assert sum([len(chunk) async for chunk in p.chunks()]) == 29 * 100_000
    async with process.open(*program("say", r"a\n\nb")) as p:
        assert [line async for line in p.lines()] == [b"a", b"", b"b"]


async def test_a_reader_that_is_slow_holds_the_writer_back() -> None:
    async with process.open(*program("write", 100, 100_000)) as p:
        await p.receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(p.wait(), 0.2)
        assert sum([1 async for _ in p.lines()]) == 99
        assert await p.wait() == 3


async def test_lines_that_no_call_took_are_the_next_reader_s() -> None:
    async with process.open(*program("say", r"1\n2\n3\n4\n5")) as p:
        async for line in p.lines():
            assert line == b"1"
            break
        assert await p.receive() == b"2"
        assert b"".join([chunk async for chunk in p.chunks()]) == b"3\n4\n5"


async def test_a_receive_that_is_given_up_takes_nothing() -> None:
    async with process.open(*program("echo")) as p:
        waiting = asyncio.ensure_future(p.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await p.send(b"for the next")
        assert await p.receive() == b"for the next"


async def test_stdin_ends_after_what_was_sent() -> None:
    async with process.open(*program("count")) as p:
        await asyncio.gather(*[p.send(b"x" * 99_999) for _ in range(10)])
        await p.close_stdin()
        assert await p.receive() == b"1000000"


async def test_a_send_waits_until_it_is_taken_and_can_be_given_up() -> None:
    async with process.open(*program("deaf")) as p:
        with pytest.raises(errors.TimedOut):
            await effect(Timeout(0.1))(p.send)(b"x" * (1 << 20))
        with within(SOON), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await p.send(b"y" * (1 << 20))


async def test_signals() -> None:
    async with nothing_left():
        async with process.open(*program("heeds")) as p:
            assert await p.receive() == b"ready"
            p.signal(0)
            p.signal(signal.SIGWINCH)
            with pytest.raises(OSError, match="Invalid argument"):
                p.signal(1000)
            p.signal(signal.SIGUSR1)
            assert await p.wait() == 7
        async with process.open(*program("heeds")) as p:
            await p.receive()
            p.signal(signal.SIGUSR2)
            assert await p.wait() == -signal.SIGUSR2


async def test_its_calls_are_counted_by_the_same_names() -> None:
    names = [f"process.{call}" for call in ("open", "send", "receive", "close_stdin", "wait")]

    async def talk() -> None:
        async with process.open(*program("echo")) as p:
            await p.send(b"x")
            await p.receive()
            await p.close_stdin()
            await p.wait()

    async with Runtime() as rt:
        await talk()
        before = {name: rt.statistics().effects[name].started for name in names}
        await talk()
        assert {name: rt.statistics().effects[name].started - before[name] for name in names} == dict.fromkeys(names, 1)


async def test_how_a_block_ends_it() -> None:
    async with nothing_left():
        async with process.open(*program("heeds")) as p:
            await p.receive()
        assert await p.wait() == 3
        async with process.open(*program("silent")) as p:
            pass
        assert await p.wait() == -signal.SIGTERM
        with within(SOON):
            async with process.open(*program("deaf")) as p:
                await p.receive()
        assert await p.wait() == -signal.SIGKILL
        with pytest.raises(KeyError):
            async with process.open(*program("heeds")) as p:
                await p.receive()
                raise KeyError
        assert await p.wait() == -signal.SIGKILL


async def test_a_cancel_while_a_block_ends_kills_and_waits() -> None:
    left = asyncio.Event()
    opened: list[process.Process] = []

    async def talk() -> None:
        async with process.open(*program("deaf")) as p:
            opened.append(p)
            await p.receive()
            left.set()

    async with nothing_left():
        task = asyncio.ensure_future(talk())
        await left.wait()
        await asyncio.sleep(0.02)  # real: it has had its SIGTERM
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await opened[0].wait() == -signal.SIGKILL


async def test_what_cannot_be_started_is_an_error_of_the_block() -> None:
    async with nothing_left():
        with pytest.raises(FileNotFoundError) as info:
            async with process.open("mountain-no-such-program"):
                pytest.fail("it cannot begin")
        assert info.value.filename == "mountain-no-such-program"
