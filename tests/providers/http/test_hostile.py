"""Servers that send what they should not: a clear error within the client's limits."""

import zlib

import pytest

from mountain_runtime import Retry, http
from tests.providers.http.server import Connection, Request, Script, answering, serving


def saying(*parts: bytes | str) -> Script:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(*parts)

    return script


MALFORMED = {
    "no HTTP": "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no status": "HTTP/1.1 abc OK\r\n\r\n",
    "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a list of lengths": "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    "a negative length": "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "a length with a plus": "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "a length beyond numbers": f"HTTP/1.1 200 OK\r\nContent-Length: {10**40}\r\n\r\nhello",
    "a space before the colon": "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "a folded header": "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
    "a zero byte": "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a bad chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "an endless chunk extension": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + "x" * 100_000,
    "an endless chunk size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "f" * 100_000,
    "a long header": "HTTP/1.1 200 OK\r\nX: " + "a" * 1_000_000 + "\r\n\r\n",
    "many headers": "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 10_000 + "\r\n",
    "an unknown packing": "HTTP/1.1 200 OK\r\nContent-Encoding: exotic\r\nContent-Length: 1\r\n\r\nx",
    "a broken packing": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "a cut packing": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
    + zlib.compress(b"x" * 1000, wbits=31)[:20],
    "a cut packing of zstd": b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 12\r\n\r\n"
    b"\x28\xb5\x2f\xfd\x04\x00\xa9\x00\x00hel",
    "a length beyond the limit": f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 40}\r\n\r\nhello",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_malformed_or_too_much_is_an_error(name: str) -> None:
    with serving(saying(MALFORMED[name])) as server:
        client = http.Client(server.url)
        with pytest.raises(http.ProtocolError) as caught:
            await client.get("/").under(Retry(on=http.transient))
        assert server.url in str(caught.value) or "body" in str(caught.value) or "answer" in str(caught.value)
        assert len(server.requests) == 1


CUT = {
    "nothing": "",
    "half a status": "HTTP/1.1 2",
    "half of the headers": "HTTP/1.1 200 OK\r\nX: y\r\n",
    "half of the body": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "half of a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    "no last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("name", CUT)
async def test_an_answer_that_is_cut_off_is_unanswered(name: str, resets: bool) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.send(CUT[name])
        if resets:
            connection.reset()

    with serving(script) as server:
        client = http.Client(server.url)
        with pytest.raises(http.Unanswered, match="may have run") as caught:
            await client.post("/", data=b"x").under(Retry(on=http.transient))
        assert isinstance(caught.value, ConnectionResetError)
        assert len(server.requests) == 1, "a POST that may have run is not repeated"
        with pytest.raises(http.Unanswered):
            await client.get("/").under(Retry(on=http.transient, attempts=2))
        assert len(server.requests) == 3


async def test_more_than_was_announced_belongs_to_no_later_answer() -> None:
    """A second answer behind the first one, in the hope that the next request takes it."""

    def answer(connection: Connection, request: Request) -> None:
        first = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        connection.send(first + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    with serving(answering(answer)) as server:
        client = http.Client(server.url)
        for _ in range(10):
            assert (await client.get("/")).content == b"ok"


EMPTY = {
    "no length": "HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\nContent-Length: 0\r\n\r\n",
    "no chunks": "HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no content": "HTTP/1.1 204 No Content\r\nContent-Encoding: {}\r\n\r\n",
    "not modified": "HTTP/1.1 304 Not Modified\r\nContent-Encoding: {}\r\nContent-Length: 10\r\n\r\n",
}


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("name", EMPTY)
async def test_a_packing_of_no_body_is_no_body(name: str, packing: str) -> None:
    with serving(saying(EMPTY[name].format(packing))) as server:
        client = http.Client(server.url)
        assert (await client.get("/")).content == b""
        async with client.open("GET", "/") as body:
            assert [piece async for piece in body] == []


async def test_chunks_win_over_a_length() -> None:
    """RFC 9112, 6.3: as every other reader on the way sees it."""
    text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with serving(saying(text)) as server:
        assert (await http.Client(server.url).get("/")).content == b"hello"


async def test_a_bomb_ends_at_the_limit() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9, wbits=31)
    assert len(bomb) < 70 << 10
    with serving(answering(lambda connection, _: connection.answer(200, bomb, content_encoding="gzip"))) as server:
        client = http.Client(server.url, max_body=1 << 20)
        with pytest.raises(http.ProtocolError, match="max_body=1048576"):
            await client.get("/")
        seen, largest = 0, 0
        with pytest.raises(http.ProtocolError, match="max_body=1048576"):
            async with client.open("GET", "/") as body:
                async for piece in body:
                    seen, largest = seen + len(piece), max(largest, len(piece))
        assert 0 < seen <= 1 << 20
        assert largest < 2 << 20


async def test_a_redirect_to_itself_ends() -> None:
    with serving(answering(lambda connection, _: connection.answer(302, location="/again"))) as server:
        with pytest.raises(http.ProtocolError, match="more than redirects=3 times"):
            await http.Client(server.url, redirects=3).get("/")
        assert len(server.requests) == 4
        assert (await http.Client(server.url, redirects=0).get("/")).status == 302


async def test_interim_answers_are_passed_over() -> None:
    text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 20 + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with serving(saying(text)) as server:
        assert (await http.Client(server.url).get("/")).content == b"ok"
