"""TLS: the authorities that a client trusts; HTTP/2, which is agreed there."""

import asyncio
import gc
import ssl
from pathlib import Path

import pytest

from benches.memory import resident
from mountain_runtime import Retry, Timeout, errors, http
from tests.providers.http import frames
from tests.providers.http.frames import Peer
from tests.providers.http.server import Connection, answering, echo, serving

#: An authority and what it has signed, for a hundred years: for 127.0.0.1, for another name, for a client.
CERTS = Path(__file__).parent / "certs"
CA = CERTS / "ca.pem"


def context(name: str = "server", *, two: bool = False, asks: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(CERTS / f"{name}.pem", CERTS / f"{name}.key")
    if two:
        made.set_alpn_protocols(["h2"])
    if asks:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(CA)
    return made


async def test_an_own_authority_is_trusted_and_the_systems_are_not_then() -> None:
    with serving(answering(echo), context()) as server:
        assert (await http.Client(server.url, ca=CA).get("/x")).headers["x-path"] == "/x"
        with pytest.raises(ssl.SSLCertVerificationError, match="not trusted") as caught:
            await http.Client(server.url).get("/").under(Retry(on=http.transient))
        assert not http.transient(caught.value)


async def test_a_certificate_of_another_name_is_refused() -> None:
    with serving(answering(echo), context("other")) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            await http.Client(server.url, ca=CA).get("/")
        assert server.requests == []


async def test_a_client_shows_its_certificate() -> None:
    with serving(answering(echo), context(asks=True)) as server:
        cert = (CERTS / "client.pem", CERTS / "client.key")
        assert (await http.Client(server.url, ca=CA, cert=cert).get("/")).status == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await http.Client(server.url, ca=CA).get("/")


async def test_a_server_that_speaks_no_tls_is_an_error() -> None:
    def script(connection: Connection) -> None:
        connection.read()
        connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(script) as server, pytest.raises(ssl.SSLError):
        await http.Client(ca=CA).get(f"https://127.0.0.1:{server.port}/")


async def test_requests_share_one_connection_of_http_2() -> None:
    def script(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.flags & frames.END_STREAM:
                peer.answer(frame.stream, frame.payload if frame.kind == frames.DATA else b"")

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        answers = await asyncio.gather(*(client.post(f"/{n}", data=b"%d" % n) for n in range(50)))
        assert [answer.content for answer in answers] == [b"%d" % n for n in range(50)]
        assert {answer.version for answer in answers} == {"2"}
        assert server.connections == 1
    with serving(answering(echo), context()) as server:
        assert (await http.Client(server.url, ca=CA, http2=False).get("/")).version == "1.1"


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_request_that_outlives_its_client_keeps_no_connection(version: str) -> None:
    def script(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.flags & frames.END_STREAM:
                peer.answer(frame.stream, b"")

    two = version == "2"
    with serving(script if two else answering(echo), context(two=two)) as server:
        call = http.Client(server.url, ca=CA).get("/")
        gc.collect()
        assert (await call).version == version
        await asyncio.gather(*[call] * 40)
        assert server.connections <= 41
        async with asyncio.timeout(5):  # real: connections close on their own thread
            while server.open:
                await asyncio.sleep(0.001)


async def test_what_a_server_that_goes_away_has_not_begun_is_sent_again_and_nothing_else() -> None:
    """It says that 5 is the last stream that it has taken: 7, and what waits for a stream, go out again; 3 and 5 do
    not. The first request is answered, so that the client knows how many streams it may have."""
    seen: list[dict[int, bytes]] = []

    def script(connection: Connection) -> None:
        mine: dict[int, bytes] = {}
        seen.append(mine)
        first = len(seen) == 1
        peer = Peer(connection, streams=3 if first else 100)
        for frame in peer.frames():
            if frame.kind == frames.DATA and frame.flags & frames.END_STREAM:
                mine[frame.stream] = frame.payload
                if not first:
                    peer.answer(frame.stream, b"second")
                elif frame.stream == 1:
                    peer.answer(1)
                elif len(mine) == 4:
                    peer.send(frames.GOAWAY, 0, 0, bytes([0, 0, 0, 5, 0, 0, 0, 0]))
                    peer.answer(3, b"first")
                    peer.answer(5, b"first")

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        await client.post("/", data=b"before")
        answers = await asyncio.gather(*(client.post("/", data=b"%d" % n) for n in range(4)))
        assert sorted(answer.content for answer in answers) == [b"first", b"first", b"second", b"second"]
    assert sorted(seen[0]) == [1, 3, 5, 7]
    again = sorted(seen[1].values())
    waited = ({b"0", b"1", b"2", b"3"} - set(seen[0].values())).pop()
    assert again == sorted([seen[0][7], waited])


async def test_a_refused_stream_is_sent_again_and_a_broken_one_is_not() -> None:
    refused = 0

    def script(connection: Connection) -> None:
        nonlocal refused
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.kind == frames.DATA and frame.flags & frames.END_STREAM:
                if frame.payload == b"broken":
                    peer.send(frames.RESET, 0, frame.stream, bytes([0, 0, 0, 2]))
                elif refused < 2:
                    refused += 1
                    peer.send(frames.RESET, 0, frame.stream, bytes([0, 0, 0, frames.REFUSED_STREAM]))
                else:
                    peer.answer(frame.stream, b"ok")

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        assert (await client.post("/", data=b"x")).content == b"ok"
        with pytest.raises(http.ProtocolError, match="may have run"):
            await client.post("/", data=b"broken")


async def test_floods_of_http_2_end_in_an_error() -> None:
    """Headers without an end (CONTINUATION), and a server that closes in the middle."""

    def endless(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.kind == frames.HEADERS:
                peer.send(frames.HEADERS, 0, frame.stream, b"\x88")
                while True:
                    peer.send(frames.CONTINUATION, 0, frame.stream, b"\x00\x01a\x7f\xff\x00" + b"b" * 254)

    def closes(connection: Connection) -> None:
        for frame in Peer(connection).frames():
            if frame.flags & frames.END_STREAM:
                return

    for script in (endless, closes):
        with serving(script, context(two=True)) as server:
            with pytest.raises((http.ProtocolError, http.Unanswered)):
                await http.Client(server.url, ca=CA).post("/", data=b"x")


FLOODS = {
    "pings": lambda peer, stream: peer.send(frames.PING, 0, 0, bytes(8)),
    "settings": lambda peer, stream: peer.send(frames.SETTINGS, 0, 0),
    "empty data": lambda peer, stream: peer.send(frames.DATA, 0, stream),
    "unknown frames": lambda peer, stream: peer.send(200, 0, stream, bytes(1000)),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_limit_ends_a_request_that_its_server_floods(name: str) -> None:
    """Frames without an end that say nothing: the request ends, and so does the connection, with its client."""

    def script(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.kind == frames.HEADERS:
                if name == "empty data":
                    peer.send(frames.HEADERS, frames.END_HEADERS, frame.stream, b"\x88")
                while True:
                    FLOODS[name](peer, frame.stream)

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        before = resident()
        with pytest.raises((errors.TimedOut, http.ProtocolError, http.Unanswered)):
            await client.get("/").under(Timeout(0.3))  # real: a socket knows no virtual time
        assert resident() - before < 20_000_000
        client._client.close()
        async with asyncio.timeout(5):
            while any(thread.is_alive() for thread in server._threads):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [(frames.GOAWAY, 0, bytes(8)), (frames.RESET, 1, bytes(4))])
async def test_a_body_that_is_given_up_without_an_error_is_not_whole(
    end: tuple[int, int, bytes], tmp_path: Path
) -> None:
    """The server goes away, or resets the stream, with the code NO_ERROR in the middle of a body."""

    def script(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.kind == frames.HEADERS:
                peer.send(frames.HEADERS, frames.END_HEADERS, frame.stream, b"\x88")
                peer.send(frames.DATA, 0, frame.stream, b"half")
                peer.send(end[0], 0, end[1] and frame.stream, end[2])

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        with pytest.raises(http.Unanswered):
            await client.get("/")
        with pytest.raises(http.Unanswered):
            await client.download("/", tmp_path / "file")
        seen: list[bytes] = []
        with pytest.raises(http.Unanswered):
            async with client.open("GET", "/") as body:
                async for piece in body:
                    seen.append(piece)
        assert seen == [b"half"]
    assert list(tmp_path.iterdir()) == []


async def test_an_answer_that_is_whole_before_the_request_is_read_is_whole() -> None:
    """The server resets the rest of the request's stream, with the code NO_ERROR (RFC 9113, 8.1)."""

    def script(connection: Connection) -> None:
        peer = Peer(connection)
        for frame in peer.frames():
            if frame.kind == frames.HEADERS:
                peer.answer(frame.stream, b"early")
                peer.send(frames.RESET, 0, frame.stream, bytes(4))

    with serving(script, context(two=True)) as server:
        client = http.Client(server.url, ca=CA)
        for _ in range(2):
            assert (await client.post("/", data=bytes(3_000_000))).content == b"early"
        assert server.connections == 1
