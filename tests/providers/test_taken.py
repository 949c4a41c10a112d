"""A cancel that comes after a call has its answer, and before its caller goes on: the next call has it."""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import fs, http, process

Pull = Callable[[], Awaitable[bytes]]
Source = Callable[[Path], Any]  # an async block that gives a pull

DATA = b"".join(b"%d\n" % n for n in range(2000))


@asynccontextmanager
async def file(tmp_path: Path) -> AsyncIterator[Pull]:
    (tmp_path / "file").write_bytes(DATA)
    async with fs.open(tmp_path / "file") as opened:
        yield lambda: opened.read(100)


def program(tmp_path: Path) -> list[str]:
    (tmp_path / "file").write_bytes(DATA)
    return ["cat", str(tmp_path / "file")]


@asynccontextmanager
async def line(tmp_path: Path) -> AsyncIterator[Pull]:
    async with process.open(*program(tmp_path)) as child:

        async def pull() -> bytes:
            try:
                return await child.receive() + b"\n"
            except BrokenPipeError:
                return b""

        yield pull


@asynccontextmanager
async def lines(tmp_path: Path) -> AsyncIterator[Pull]:
    async with process.open(*program(tmp_path)) as child:

        async def pull() -> bytes:
            async for line in child.lines():
                return line + b"\n"
            return b""

        yield pull


@asynccontextmanager
async def chunks(tmp_path: Path) -> AsyncIterator[Pull]:
    code = "import sys\nfor piece in range(50): sys.stdout.write('x' * 50); sys.stdout.flush()"
    async with process.open(sys.executable, "-S", "-c", code) as child:

        async def pull() -> bytes:
            async for chunk in child.chunks():
                return chunk
            return b""

        yield pull


@asynccontextmanager
async def terminal(tmp_path: Path) -> AsyncIterator[Pull]:
    async with process.terminal(*program(tmp_path)) as child:

        async def pull() -> bytes:
            async for chunk in child.chunks():
                return chunk.replace(b"\r", b"")
            return b""

        yield pull


@asynccontextmanager
async def body(tmp_path: Path) -> AsyncIterator[Pull]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA))
        for at in range(0, len(DATA), 100):
            writer.write(DATA[at : at + 100])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, http.Client() as client, client.open("GET", f"http://127.0.0.1:{port}/") as opened:

        async def pull() -> bytes:
            async for piece in opened:
                return piece
            return b""

        yield pull


SOURCES = pytest.mark.parametrize("source", [file, line, lines, chunks, terminal, body])


async def whole(pull: Pull) -> bytes:
    got = b""
    while piece := await pull():
        got += piece
    return got


@SOURCES
async def test_an_answer_on_its_way_is_not_lost(source: Source, tmp_path: Path) -> None:
    async with source(tmp_path) as pull:
        expected = await whole(pull)
    async with source(tmp_path) as pull:
        got = await pull()
        for _ in range(5):
            task = asyncio.ensure_future(pull())
            await asyncio.sleep(0)
            time.sleep(0.005)  # the answer comes to a loop that is busy
            task.cancel()
            await asyncio.wait([task])
            got += b"" if task.cancelled() else task.result()
        assert got + await whole(pull) == expected


@SOURCES
async def test_an_answer_that_waits_for_its_tasks_step_is_not_lost(source: Source, tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(True)  # a task is then woken by call_soon
    async with source(tmp_path) as pull:
        expected = await whole(pull)
    cancelled = 0
    async with source(tmp_path) as pull:
        got = b""
        for _ in range(5):
            task = asyncio.ensure_future(pull())
            await asyncio.sleep(0)
            handle = getattr(task, "_fut_waiter", None)
            while handle is not None and not handle.done():
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            got += b"" if task.cancelled() else task.result()
            cancelled += task.cancelled()
        assert got + await whole(pull) == expected
    assert cancelled


@SOURCES
async def test_cancels_at_any_moment_lose_nothing(source: Source, tmp_path: Path) -> None:
    async with source(tmp_path) as pull:
        expected = await whole(pull)
    moments = random.Random(1)
    async with source(tmp_path) as pull:
        got = b""
        for _ in range(60):
            task = asyncio.ensure_future(pull())
            for _ in range(moments.randrange(5)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            got += b"" if task.cancelled() else task.result()
        assert got + await whole(pull) == expected


@pytest.mark.parametrize("first", [0, 1])
async def test_the_answers_of_several_readers_go_back_in_the_order_of_the_source(first: int) -> None:
    code = "import sys\nfor line in sys.stdin: sys.stdout.write(f'one {line}two {line}'); sys.stdout.flush()"
    async with process.open(sys.executable, "-S", "-c", code) as child:
        for turn in (b"%d" % n for n in range(20)):
            readers = [asyncio.ensure_future(child.receive()) for _ in range(2)]
            await asyncio.sleep(0)
            await child.send(turn)
            time.sleep(0.002)  # the answers come to a loop that is busy
            readers[first].cancel()
            readers[1 - first].cancel()
            ended = await asyncio.gather(*readers, return_exceptions=True)
            got = [line for line in ended if isinstance(line, bytes)]
            while len(got) < 2:
                got.append(await child.receive())
            assert got == [b"one " + turn, b"two " + turn]
