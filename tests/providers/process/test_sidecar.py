"""`sidecar`: ready, logged, restarted, stopped, and what its end says."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from mountain_runtime import Retry, Runtime, Timeout, constant, effect, exponential, sidecar
from mountain_runtime.errors import ConfigError, ShuttingDown
from mountain_runtime.process import Process
from mountain_runtime.testing import VirtualClock
from tests.providers.process.support import PYTHON, eventually, lives, nothing_left, pids, within

SERVING = str(Path(__file__).with_name("serving.py"))


def serving(
    *words: str, ready: Callable[[str], bool] | int | None = lambda line: line == "ready", **options: object
) -> Callable[[], AbstractAsyncContextManager[Process]]:
    """The program beside this file as a sidecar."""
    return sidecar(PYTHON, "-S", SERVING, *words, ready=ready, **options)  # type: ignore[arg-type]


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether another program could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_it_is_ready_when_a_line_says_so_and_talks_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime.sidecar"):
        async with nothing_left():
            async with serving()() as p:
                await p.send(b"hello")
                assert await p.receive() == b"%d hello" % p.pid
            assert not lives(p.pid)
    assert any(record.message.endswith(": warming up") for record in caplog.records)


async def test_a_line_of_stderr_may_say_so() -> None:
    async with serving("stderr")() as p:
        await p.send(b"hello")
        # Of the lines before, those that came first have been logged.
        while (line := await p.receive()) != b"%d hello" % p.pid:
            assert line in (b"warming up", b"on stderr")


async def test_it_is_ready_when_its_port_answers(port: int) -> None:
    async with nothing_left():
        async with serving("port", str(port), "slow", ready=port)():
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
        assert is_free(port)


async def test_a_port_that_is_taken_is_said_before_it_starts(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(OSError, match="listens on its port"):
            async with serving("port", str(port), ready=port)():
                pytest.fail("it cannot begin")


async def test_one_that_ends_before_it_is_ready_says_how_and_its_last_lines() -> None:
    async with nothing_left():
        with pytest.raises(ChildProcessError, match=r"(?s)ended with exit code 4 before it was ready.*no such thing"):
            async with serving("quick")():
                pytest.fail("it cannot begin")


@pytest.mark.parametrize("words", [(), ("stderr",)], ids=["stdout", "stderr"])
async def test_a_question_that_fails_fails_the_start(words: tuple[str, ...]) -> None:
    def says(line: str) -> bool:
        if line == "ready":
            raise KeyError(line)
        return False

    async with nothing_left():
        with pytest.raises(KeyError):
            async with serving(*words, ready=says)():
                pytest.fail("it cannot begin")


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    async with nothing_left():
        with within(2), pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), serving(ready=lambda line: False)():
                pytest.fail("it is never ready")


async def test_one_that_ended_by_itself_fails_the_block_s_end_with_its_last_lines() -> None:
    async with nothing_left():
        with pytest.raises(ChildProcessError, match=r"(?s)killed by signal 9 by itself.*about to die"):
            async with serving()() as p:
                await p.send(b"die")
                with pytest.raises(BrokenPipeError):
                    await p.receive()
        with pytest.raises(KeyError) as info:
            async with serving()() as p:
                await p.send(b"die")
                await p.wait()
                raise KeyError
        assert any("killed by signal 9" in note for note in info.value.__notes__)


async def test_it_is_started_again_and_its_users_keep_their_object() -> None:
    calls = []

    async with nothing_left():
        async with serving(restart=constant(0.01))() as p:

            @effect(Timeout(5), Retry(on=BrokenPipeError, attempts=2))
            async def ask(word: bytes) -> bytes:
                calls.append(word)
                await p.send(word if len(calls) > 1 else b"die")
                return await p.receive()

            first = p.pid
            assert (await ask(b"again")).split()[1] == b"again"
            assert p.pid != first
            assert not lives(first)
            os.kill(p.pid, signal.SIGKILL)  # while no call talks to it
            await p.wait()
            assert (await ask(b"once more")).endswith(b" once more")


async def test_an_answer_comes_from_who_was_asked_or_not_at_all() -> None:
    async with serving(restart=constant(0))() as p:
        first = p.pid
        await p.send(b"die")
        while p.pid == first:
            await asyncio.sleep(0.005)  # real: the next one starts
        with pytest.raises(BrokenPipeError):  # it would wait for ever for the next one's answer
            await p.receive()
        await p.send(b"hello")
        assert await p.receive() == b"%d hello" % p.pid
        await p.send(b"die")
        assert [line async for line in p.lines()] == []
        await p.send(b"again")
        assert (await p.receive()).endswith(b" again")


async def test_too_many_restarts_stop_the_runtime() -> None:
    async with nothing_left():
        with within(20), pytest.raises(ChildProcessError, match="started 5 times again"):
            async with Runtime() as rt:
                async with serving(restart=constant(0))() as p:
                    first = p.pid
                    for _ in range(6):
                        await p.send(b"are you there?")  # waits for the next one
                        p.signal(signal.SIGKILL)
                        await p.wait()
                    with pytest.raises((BrokenPipeError, ShuttingDown)):  # whichever is seen first
                        await p.send(b"are you there?")
                    assert p.pid != first
                    while rt.report is None:
                        await asyncio.sleep(0.01)  # real: the shutdown has begun by itself
        assert rt.report is not None


async def test_it_is_stopped_politely_first_and_the_request_is_retried() -> None:
    asked = []

    async def stop(p: Process) -> None:
        asked.append(p.pid)
        if len(asked) < 3:
            raise ConnectionError
        await p.send(b"quit")

    async with nothing_left():
        async with serving("stubborn", stop=stop, grace=2)() as p:
            began = monotonic()
        assert asked == [p.pid] * 3
        assert await p.wait() == 0
        assert monotonic() - began < 1.5


async def test_a_request_that_is_of_no_use_is_followed_by_signals(tmp_path: Path) -> None:
    async def useless(_: Process) -> None:
        await asyncio.Event().wait()

    async with nothing_left():
        with within(3):
            async with serving(
                "stubborn", "grandchild", f"{tmp_path}/pids", stop=useless, stop_tries=2, grace=0.2
            )() as p:
                began = monotonic()
        assert 0.5 < monotonic() - began < 2
        assert await p.wait() == -signal.SIGKILL
        for pid in pids(tmp_path / "pids", 2):
            assert eventually(lambda pid=pid: not lives(pid))  # type: ignore[misc]


async def test_a_cancel_while_it_stops_kills_at_once() -> None:
    async with nothing_left():
        ready = asyncio.Event()

        async def main() -> None:
            async with serving("stubborn", grace=10)():
                ready.set()

        task = asyncio.ensure_future(main())
        await ready.wait()
        await asyncio.sleep(0.1)  # real: it has had its SIGTERM
        task.cancel()
        with within(1), pytest.raises(asyncio.CancelledError):
            await task


async def test_its_stderr_does_not_block_it_and_long_lines_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    script = "import sys; sys.stderr.write('x' * 3_000_000 + '\\n'); print('ready', flush=True); sys.stdin.read()"
    with caplog.at_level(logging.INFO, "mountain_runtime.sidecar"):
        async with sidecar(PYTHON, "-S", "-c", script, ready=lambda line: line == "ready")():
            pass
    assert max(len(record.message) for record in caplog.records) < 10_000


async def test_another_service_can_be_built_on_it() -> None:
    class Server:
        def __init__(self, p: Process) -> None:
            self.p = p

    @asynccontextmanager
    async def open_server():  # type: ignore[no-untyped-def]
        async with serving()() as p:
            yield Server(p)

    async with open_server() as server:
        await server.p.send(b"x")
        assert (await server.p.receive()).endswith(b" x")


@pytest.mark.asyncio(loop_factories=["asyncio"])  # time can be virtual there only
async def test_virtual_time_waits_for_its_start_and_goes_on_while_it_lives(virtual_clock: VirtualClock) -> None:
    async with asyncio.timeout(1):
        block = serving("slow")()
        p = await block.__aenter__()
    assert virtual_clock.time() == 0
    with within(2):
        await asyncio.sleep(3600)
    await p.send(b"x")
    async with asyncio.timeout(1):
        assert (await p.receive()).endswith(b" x")
    assert virtual_clock.time() == 3600
    await block.__aexit__(None, None, None)
    assert not lives(p.pid)


def test_settings_that_cannot_work_are_refused_where_they_are_written() -> None:
    for call in (
        sidecar,
        lambda: sidecar("x", ready=0),
        lambda: sidecar("x", ready=70000),
        lambda: sidecar("x", ready=True),
        lambda: sidecar("x", stop_tries=0),
        lambda: sidecar("x", grace=-1),
        lambda: sidecar("x", restart=3),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="sidecar"):
            call()
    assert "sidecar('x')" in repr(sidecar("/usr/bin/x", restart=exponential()))
