"""Bodies read piece by piece, and into files."""

import asyncio
import gc
import random
import threading
from pathlib import Path

import pytest

from mountain_runtime import Retry, _native, http, testing
from tests.providers.http.server import Connection, Request, answering, serving, streaming


async def test_pieces_come_as_they_are_sent_and_the_connection_is_kept() -> None:
    with serving(answering(streaming(b"one", b"two" * 100_000, b"three"))) as server:
        client = http.Client(server.url)
        for _ in range(3):
            async with client.open("GET", "/") as body:
                assert (body.status, body.version, body.headers["x-a"]) == (200, "1.1", "1")
                assert b"".join([piece async for piece in body]) == b"one" + b"two" * 100_000 + b"three"
                assert [piece async for piece in body] == []
        assert server.connections == 1


async def test_a_slow_reader_slows_its_server() -> None:
    sent = 0

    def answer(connection: Connection, request: Request) -> None:
        nonlocal sent
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            connection.send(bytes(1_000_000))
            sent += 1

    with serving(answering(answer)) as server:
        client = http.Client(server.url)
        async with client.open("GET", "/") as body:
            async for piece in body:
                assert len(piece) < 2 << 20
                break
            await asyncio.sleep(0.1)  # real: what the sockets hold fills up
            assert sent < 100
        async with asyncio.timeout(5):
            while client._client.connections() != (0, 0):
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("resets", [False, True])
async def test_a_body_that_is_cut_off_is_an_error_after_what_has_come(resets: bool) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if resets:
            connection.read()
            connection.reset()

    with serving(script) as server:
        seen = b""
        with pytest.raises(http.Unanswered):
            async with http.Client(server.url).open("GET", "/") as body:
                async for piece in body:
                    seen += piece
                    if resets:
                        server.close()
        assert seen == b"hello"


async def test_a_failing_status_is_raised_with_its_explanation() -> None:
    with serving(answering(lambda connection, _: connection.answer(503, b"why", retry_after="2"))) as server:
        with pytest.raises(http.StatusError) as caught:
            async with http.Client(server.url).open("GET", "/"):
                raise AssertionError
        assert (caught.value.response.content, caught.value.response.retry_after) == (b"why", 2.0)
        async with http.Client(server.url).open("GET", "/", check=False) as body:
            assert body.status == 503


async def test_a_cancelled_read_loses_nothing() -> None:
    with serving(answering(streaming(*(b"%08d" % n for n in range(2000))))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            seen = b""
            for moment in range(10_000):
                read = asyncio.ensure_future(body._body.next())
                for _ in range(moment % 4):
                    await asyncio.sleep(0)
                if moment % 2:
                    read.cancel()
                try:
                    piece = await read
                except asyncio.CancelledError:
                    continue
                if piece is None:
                    break
                seen += piece
        # A piece that was answered before the cancel reached it has gone with it: what is seen is in order.
        numbers = [int(seen[n : n + 8]) for n in range(0, len(seen) - 7, 8)] if len(seen) % 8 == 0 else []
        assert numbers == sorted(numbers)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Ranged:
    """A server of one file, which may break off."""

    def __init__(
        self, content: bytes, tag: str | None = '"1"', breaks_at: int | None = None, ranges: bool = True
    ) -> None:
        self.content, self.tag, self.breaks_at, self.ranges = content, tag, breaks_at, ranges

    def __call__(self, connection: Connection) -> None:
        while (request := connection.request()) is not None:
            start, status = 0, 200
            if self.ranges and request.headers.get("if-range") == self.tag and "range" in request.headers:
                start, status = int(request.headers["range"].removeprefix("bytes=").removesuffix("-")), 206
            body = self.content[start:]
            head = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\n"
            head += f"ETag: {self.tag}\r\n" if self.tag else ""
            head += (
                f"Content-Range: bytes {start}-{len(self.content) - 1}/{len(self.content)}\r\n" if status == 206 else ""
            )
            if self.breaks_at is not None:
                connection.send(head, "\r\n", body[: self.breaks_at])
                return
            connection.send(head, "\r\n", body)


CONTENT = bytes(range(100))


async def test_a_download_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    large = CONTENT * 50_000
    with serving(Ranged(large)) as server:
        assert await http.Client(server.url).download("/x", tmp_path / "file") == len(large)
        assert (tmp_path / "file").read_bytes() == large
        assert files(tmp_path) == {"file"}
    with serving(Ranged(CONTENT, breaks_at=40)) as server:
        with pytest.raises(http.Unanswered):
            await http.Client(server.url).download("/x", tmp_path / "file", resume=False)
        assert (tmp_path / "file").read_bytes() == large
        assert files(tmp_path) == {"file"}
    with serving(answering(lambda connection, _: connection.answer(404))) as server:
        with pytest.raises(http.StatusError):
            await http.Client(server.url).download("/x", tmp_path / "file")
    assert files(tmp_path) == {"file"}


async def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    script = Ranged(CONTENT, breaks_at=40)
    with serving(script) as server:
        client = http.Client(server.url)
        with pytest.raises(http.Unanswered):
            await client.download("/x", tmp_path / "file")
        assert files(tmp_path) == {".file.part", ".file.part.tag"}
        script.breaks_at = None
        assert await client.download("/x", tmp_path / "file") == 100
        assert server.requests[-1].headers["range"] == "bytes=40-"
        assert server.requests[-1].headers["if-range"] == '"1"'
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert files(tmp_path) == {"file"}


async def test_a_retry_goes_on_where_the_attempt_before_was_cut_off(tmp_path: Path) -> None:
    script = Ranged(CONTENT, breaks_at=30)
    with serving(script) as server:
        size = (
            await http.Client(server.url).download("/x", tmp_path / "file").under(Retry(on=http.transient, attempts=5))
        )
        assert size == 100
        assert [request.headers.get("range") for request in server.requests] == [
            None,
            "bytes=30-",
            "bytes=60-",
            "bytes=90-",
        ]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["all", "another version", "no version", "wrong range"])
async def test_what_is_there_is_never_mixed_with_another_version(tmp_path: Path, change: str) -> None:
    """40 of 100 bytes are there, and the server answers with all, or with something else."""
    script = Ranged(CONTENT, breaks_at=40)
    with serving(script) as server:
        client = http.Client(server.url)
        with pytest.raises(http.Unanswered):
            await client.download("/x", tmp_path / "file")
        script.breaks_at = None
        if change == "all":
            script.ranges = False
        elif change == "another version":
            script.content, script.tag = bytes(reversed(CONTENT)), '"2"'
        elif change == "no version":
            script.content, script.tag = bytes(reversed(CONTENT)), None
        else:
            server.script = lambda connection: (
                connection.request(),
                connection.send(
                    "HTTP/1.1 206 OK\r\nContent-Length: 60\r\nContent-Range: bytes 30-89/100\r\n\r\n", CONTENT[30:90]
                ),
            )[1]
            with pytest.raises(http.ProtocolError, match="range"):
                await client.download("/x", tmp_path / "file")
            assert not (tmp_path / "file").exists()
            return
        assert await client.download("/x", tmp_path / "file") == 100
    assert (tmp_path / "file").read_bytes() == script.content


async def test_a_download_says_how_far_it_is(tmp_path: Path) -> None:
    large = CONTENT * 50_000
    goes_on = threading.Event()

    def halts(connection: Connection) -> None:
        connection.request()
        connection.send(f'HTTP/1.1 200 OK\r\nContent-Length: {len(large)}\r\nETag: "1"\r\n\r\n', large[:3_000_000])
        goes_on.wait(10)

    progress = http.Progress()
    assert (progress.done, progress.total, repr(progress)) == (0, None, "<Progress 0 of ? bytes>")
    with serving(halts) as server:
        client = http.Client(server.url)
        download = asyncio.ensure_future(client.download("/x", tmp_path / "file", progress=progress))
        async with asyncio.timeout(5):  # real: a file is written
            while progress.done < 2_000_000:
                await asyncio.sleep(0.001)
        assert progress.done <= 3_000_000
        assert progress.total == len(large)
        goes_on.set()
        with pytest.raises(http.Unanswered):
            await download
        assert progress.done == 3_000_000
        server.script = Ranged(large)
        assert await client.download("/x", tmp_path / "file", progress=progress) == len(large)
        assert server.requests[-1].headers["range"] == "bytes=3000000-"
        assert (progress.done, progress.total) == (len(large), len(large))
    with testing.http(lambda _: testing.Reply(body=b"12345")):
        await client.download("/x", tmp_path / "file", progress=progress)
    assert repr(progress) == "<Progress 5 of 5 bytes>"


@pytest.mark.parametrize("status", [302, 304])
async def test_an_answer_without_the_file_replaces_nothing(tmp_path: Path, status: int) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    with serving(answering(lambda connection, _: connection.answer(status, location="/y"))) as server:
        with pytest.raises(http.ProtocolError, match=f"answers {status}, which has no file"):
            await http.Client(server.url, redirects=0).download("/x", tmp_path / "file", headers={"If-None-Match": "1"})
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert files(tmp_path) == {"file"}


async def test_two_downloads_to_one_file_do_not_meet(tmp_path: Path) -> None:
    with serving(Ranged(CONTENT * 1000)) as server:
        client = http.Client(server.url)
        await asyncio.gather(*(client.download("/x", tmp_path / "file") for _ in range(8)))
    assert (tmp_path / "file").read_bytes() == CONTENT * 1000
    assert files(tmp_path) == {"file"}


async def test_a_file_that_cannot_be_is_a_builtin_error(tmp_path: Path) -> None:
    with serving(Ranged(CONTENT)) as server:
        client = http.Client(server.url)
        with pytest.raises(FileNotFoundError):
            await client.download("/x", tmp_path / "none" / "file")
        for folder in (tmp_path, "/", ".."):
            with pytest.raises(IsADirectoryError):
                await client.download("/x", folder)
        with pytest.raises(ValueError, match="embedded null byte"):
            await client.download("/x", "a\0b")
        assert server.requests == []


async def test_random_cancels_of_open_bodies_and_downloads_leave_nothing_behind(tmp_path: Path) -> None:
    """Single and double ones: no file, no connection at work, no task."""
    dice = random.Random(61)
    with serving(Ranged(CONTENT * 3000)) as server:
        client = http.Client(server.url, per_host=3)

        async def read() -> None:
            async with client.open("GET", "/x") as body:
                async for _ in body:
                    await asyncio.sleep(0)

        async def one(number: int) -> None:
            work = read() if number % 2 else client.download("/x", tmp_path / f"{number}", resume=False)
            task = asyncio.ensure_future(work)
            for times in range(dice.randrange(3)):
                await asyncio.sleep(dice.choice((0, 0, 0.0005, 0.005)) * (times + 1))
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task

        await asyncio.gather(*(one(number) for number in range(120)))
        assert await client.download("/x", tmp_path / "last") == len(CONTENT) * 3000
        async with asyncio.timeout(5):  # real: files and connections close on their own threads
            while client._client.connections()[0] != client._client.connections()[1] or _native.at_work():
                await asyncio.sleep(0.001)
        assert client._client.connections()[0] <= 3
    assert [name for name in files(tmp_path) if ".part" in name] == []
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {len(CONTENT) * 3000}


async def test_a_body_is_read_within_its_block() -> None:
    """Silence after it would pass for the end of the body."""
    with serving(answering(streaming(b"one\n", b"two\n"))) as server:
        client = http.Client(server.url)
        block = client.open("GET", "/")
        async with block as body:
            assert await anext(aiter(body.lines())) == "one"
        for again in (body.lines(), body.events()):
            with pytest.raises(ValueError, match="read it within its block"):
                async for _ in again:
                    pass
        with pytest.raises(RuntimeError, match="entered once"):
            async with block:
                pass


async def test_a_body_that_has_failed_does_not_end_afterwards() -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        connection.sock.close()

    with serving(answering(answer)) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            with pytest.raises(http.Unanswered):
                async for _ in body:
                    pass
            with pytest.raises(ValueError, match="has failed"):
                async for _ in body:
                    pass


async def test_a_block_in_another_ones_place_says_so_once(recwarn: pytest.WarningsRecorder) -> None:
    client = http.Client("http://127.0.0.1:1")
    with pytest.raises(TypeError, match=r"asynchronous block: write `async with client\.open"):
        await client.open("GET", "/")  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"asynchronous block: write `async with client\.open"):
        with client.open("GET", "/"):  # type: ignore[attr-defined]
            pass
    with pytest.raises(TypeError, match=r"a body is opened first: write `async with client\.open"):
        async for _ in client.open("GET", "/"):  # type: ignore[attr-defined]
            pass
    gc.collect()
    assert recwarn.list == []
