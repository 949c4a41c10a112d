"""Bodies and requests whose program, loop, runtime or disk ends meanwhile: nothing is left, and nothing is said."""

import asyncio
import gc
import resource
import signal
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from mountain_runtime import Runtime, http
from tests.providers.http.server import Connection, Request, answering, serving


def half(connection: Connection, _: Request) -> None:
    """The begin of a body, and no more."""
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The errors that were reported, since there was no caller to raise them to."""
    reports: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reports.append(repr(report.exc_value)))
    return reports


async def idle(client: http.Client) -> None:
    async with asyncio.timeout(5):  # real: connections close on their own thread
        while len(set(client._client.connections())) > 1:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_within_the_block_closes_it(error: type[BaseException], debug: bool, said: list[str]) -> None:
    with serving(answering(half)) as server:
        client = http.Client(server.url)

        async def exits() -> None:
            async with client.open("GET", "/") as body:
                async for _ in body:
                    raise error

        async def in_a_task() -> None:
            await asyncio.ensure_future(exits())

        for program in (exits, in_a_task):
            with pytest.raises(error):
                asyncio.run(program(), debug=debug)
            asyncio.run(idle(client))
        gc.collect()
        assert client._client.connections() == (0, 0)
    assert said == []


@pytest.mark.parametrize("debug", [False, True])
def test_a_loop_that_is_collected_while_a_body_is_read_goes_in_silence(debug: bool, said: list[str]) -> None:
    def run(url: str) -> weakref.ref[asyncio.AbstractEventLoop]:
        seen: list[bytes] = []

        async def reads() -> None:
            async with http.Client(url).open("GET", "/") as body:
                async for piece in body:
                    seen.append(piece)

        async def main() -> None:
            task = asyncio.ensure_future(reads())
            while not seen:
                await asyncio.sleep(0)
            assert not task.done()

        loop = asyncio.new_event_loop()
        loop.set_debug(debug)
        loop.set_exception_handler(lambda *_: None)  # the task that is destroyed
        loop.run_until_complete(main())
        return weakref.ref(loop)

    with serving(answering(half)) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the loop was not closed
        loop = run(server.url)
        for _ in range(3):
            gc.collect()
    assert loop() is None
    assert said == []


async def test_two_cancels_at_any_turns_leave_the_client_usable() -> None:
    with serving(answering(lambda connection, _: connection.answer(200, bytes(200_000)))) as server:
        client = http.Client(server.url)

        async def whole() -> int:
            return len((await client.get("/")).content)

        async def pieces() -> int:
            async with client.open("GET", "/") as body:
                return sum([len(piece) async for piece in body])

        async def cancelled(work: Callable[[], Awaitable[int]], first: int, second: int) -> None:
            task = asyncio.ensure_future(work())
            for turns in (first, second):
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            assert ended == 200_000 or isinstance(ended, asyncio.CancelledError)

        async with Runtime():
            for work in (whole, pieces):
                for first in range(20):
                    for second in (0, 1, 2, 3):
                        await cancelled(work, first, second)
            await idle(client)
            assert await whole() == await pieces() == 200_000


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file gets larger than a megabyte."""
    before, was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, was[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, was)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("tag", [None, '"one"'])
async def test_a_full_disk_keeps_the_part_of_a_version_and_no_other(
    tag: str | None, tmp_path: Path, small_disk: None
) -> None:
    headers = {"etag": tag} if tag else {}
    with serving(answering(lambda connection, _: connection.answer(200, bytes(3_000_000), **headers))) as server:
        with pytest.raises(OSError, match="File too large"):
            await http.Client(server.url).download("/", tmp_path / "file")
    kept = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert kept == ({".file.part": 1_000_000, ".file.part.tag": 5} if tag else {})
