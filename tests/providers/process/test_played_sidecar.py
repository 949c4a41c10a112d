"""`sidecar` of one program, as a process and as a fake."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from mountain_runtime import Retry, Timeout, constant, effect, sidecar
from mountain_runtime.process import Process
from tests.providers.process.playing import KINDS, played, program
from tests.providers.process.support import SOON, nothing_left, within


@pytest.fixture(params=KINDS, autouse=True)
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    with played(request.param):
        yield request.param


def serving(word: object = "", **options: object) -> Callable[[], AbstractAsyncContextManager[Process]]:
    settings: dict[str, object] = {"ready": lambda line: line == "ready", **options}
    return sidecar(*program("serve", word), **settings)  # type: ignore[arg-type]


async def test_it_is_ready_when_a_line_says_so_and_talks_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime.sidecar"):
        async with nothing_left():
            async with serving()() as p:
                await p.send(b"hello")
                assert await p.receive() == b"heard hello"
            assert await p.wait() == -signal.SIGTERM
    assert any(record.message.endswith(": warming up") for record in caplog.records)


async def test_a_line_of_stderr_may_say_so() -> None:
    async with serving("stderr")() as p:
        await p.send(b"hello")
        assert await p.receive() == b"heard hello"


async def test_it_is_ready_when_its_port_answers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with serving(port, ready=port)() as p:
        pass
    assert await p.wait() == -signal.SIGTERM


async def test_one_that_ends_before_it_is_ready_says_how_and_its_last_lines() -> None:
    async with nothing_left():
        with pytest.raises(ChildProcessError, match=r"(?s)ended with exit code 4 before it was ready.*cannot open"):
            async with serving("quick")():
                pytest.fail("it cannot begin")


async def test_one_that_ended_by_itself_fails_the_block_s_end_with_its_last_lines() -> None:
    async with nothing_left():
        with pytest.raises(ChildProcessError, match=r"(?s)ended with exit code 5 by itself.*about to die"):
            async with serving()() as p:
                await p.send(b"die")
                with pytest.raises(BrokenPipeError):
                    await p.receive()


async def test_it_is_started_again_and_its_users_keep_their_object() -> None:
    calls = []
    async with nothing_left():
        async with serving(restart=constant(0.01))() as p:

            @effect(Timeout(30), Retry(on=BrokenPipeError, attempts=2))
            async def ask(word: bytes) -> bytes:
                calls.append(word)
                await p.send(word if len(calls) > 1 else b"die")
                return await p.receive()

            first = p.pid
            assert await ask(b"again") == b"heard again"
            assert p.pid != first
            p.signal(signal.SIGKILL)  # while no call talks to it
            await p.wait()
            assert await ask(b"once more") == b"heard once more"


async def test_it_is_stopped_politely_first() -> None:
    asked = []

    async def stop(p: Process) -> None:
        asked.append(p.pid)
        if len(asked) < 3:
            raise ConnectionError
        await p.send(b"quit")

    async with nothing_left():
        async with serving(stop=stop, grace=SOON)() as p:
            pass
        assert asked == [p.pid] * 3
        assert await p.wait() == 0


async def test_one_that_takes_no_request_is_killed() -> None:
    async with nothing_left():
        with within(SOON):
            async with sidecar(*program("deaf"), ready=lambda line: line == "deaf", grace=0.1)() as p:
                pass
        assert await p.wait() == -signal.SIGKILL


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    async with nothing_left():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), serving(ready=lambda _: False)():
                pytest.fail("it is never ready")
