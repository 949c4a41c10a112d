"""A caller that has gone is noticed while it is not read, too; one that piles up messages is read again by events."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mountain_runtime import rpc
from mountain_runtime.rpc._sessions.session import Session
from mountain_runtime.rpc._wires.hangup import HangUp
from tests.rpc.support import Caller, Log, calling, served, small
from tests.rpc.test_addresses import free_port
from tests.rpc.test_serve import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@contextlib.asynccontextmanager
async def by_tcp(port: int) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port), "lsp")
    try:
        yield caller
    finally:
        caller.close()


async def flooded(caller: Caller, log: Log, size: int = 1) -> None:
    """Sends until nothing more is read."""
    caller.notify("wait", ["first"])
    caller.send({"jsonrpc": "2.0", "method": "note", "params": ["x" * size]}, times=20_000)
    await until(lambda: log.said)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(caller.writer.drain(), 0.3)  # real: until the system's buffers are full


@pytest.mark.parametrize("told", [True, False], ids=["told", "looks"])
async def test_a_caller_that_goes_while_it_is_not_read(path: Path, told: bool) -> None:
    log = Log()
    with contextlib.nullcontext() if told else mock.patch.object(HangUp, "_told", return_value=None):
        async with served(small(log), f"unix:{path}"):
            async with calling(path) as caller:
                await flooded(caller, log)
                caller.writer.transport.abort()
            await until(lambda: log.said == ["first begins", "first ends"])


@pytest.mark.parametrize("told", [True, False], ids=["told", "looks"])
async def test_a_caller_that_goes_after_the_end_of_its_input(path: Path, told: bool) -> None:
    log = Log()
    with contextlib.nullcontext() if told else mock.patch.object(HangUp, "_told", return_value=None):
        async with served(small(log), f"unix:{path}"):
            async with calling(path) as caller:
                caller.request(1, "wait", ["w"])
                caller.writer.write_eof()
                await until(lambda: log.said)
                await asyncio.sleep(0.05)  # real: it must not be cancelled in it
                assert log.said == ["w begins"]
            await until(lambda: log.said == ["w begins", "w ends"])


async def test_tcp_callers_that_are_cut_off_and_that_close() -> None:
    log, port = Log(), free_port()
    async with served(small(log), f"tcp:127.0.0.1:{port}"):
        async with by_tcp(port) as caller:
            await flooded(caller, log, size=1000)  # the system takes megabytes
            own = caller.writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.writer.transport.abort()
        await until(lambda: log.said == ["first begins", "first ends"])
        log.said.clear()
        async with by_tcp(port) as caller:
            caller.request(1, "wait", ["w"])
            await until(lambda: log.said)
        # It looks as one that only ends its input, and is answered. The answer shows that it has gone.
        await asyncio.sleep(0.05)  # real
        assert log.said == ["w begins"]
        log.release.set()
        await until(lambda: log.said == ["w begins", "w ends"])


async def test_a_vanished_machine_is_asked_for() -> None:
    port = free_port()
    options = []
    setsockopt = socket.socket.setsockopt

    def seen(self: socket.socket, level: int, option: int, value: Any) -> None:
        options.append((option, value))
        setsockopt(self, level, option, value)

    with mock.patch.object(socket.socket, "setsockopt", seen):
        async with served(small(Log()), f"tcp:127.0.0.1:{port}"), rpc.connect(f"tcp:127.0.0.1:{port}") as peer:
            assert await peer.call("add", [1]) == 3
    assert options.count((socket.TCP_KEEPIDLE, 60)) == 2


async def test_a_caller_is_read_again_by_events(path: Path) -> None:
    log, resumes = Log(), 0
    resume = Session._resume

    def counted(self: Session, _: object = None) -> None:
        nonlocal resumes
        resumes += 1
        resume(self)

    with mock.patch.object(Session, "_resume", counted):
        async with served(small(log), f"unix:{path}"), calling(path) as caller:
            await flooded(caller, log)
            assert resumes == 1
            log.release.set()
            caller.request(1, "add", [1])
            assert (await caller.receive())["result"] == 3
            await until(lambda: len(log.said) == 20_002)
            assert 2 <= resumes <= 30  # each time half of 4096 have gone


async def test_a_caller_that_does_not_read_its_answers_is_read_again_when_it_does(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}"), calling(path) as caller:
        caller.writer.transport.pause_reading()
        text, count = "x" * 10_000, 400
        for number in range(count):
            caller.request(number, "echo", [text])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.writer.drain(), 0.3)  # real: until the system's buffers are full
        caller.writer.transport.resume_reading()
        answers = [await caller.receive() for _ in range(count)]
        assert {each["id"] for each in answers} == set(range(count))
