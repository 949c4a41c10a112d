"""Bodies as lines and as server-sent events."""

import asyncio
import threading

import pytest

from mountain_runtime import http
from tests.providers.http.server import Connection, Request, answering, serving, streaming


async def test_lines_whatever_the_pieces() -> None:
    text = "first\r\nsecond ä\n\nlast".encode()
    with serving(answering(streaming(*(text[n : n + 1] for n in range(len(text)))))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            assert [line async for line in body.lines()] == ["first", "second ä", "", "last"]


async def test_an_endless_line_is_an_error() -> None:
    with serving(answering(streaming(*[b"x" * 500_000] * 4))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            with pytest.raises(http.ProtocolError, match="line of more than"):
                async for _ in body.lines():
                    pass


async def test_an_endless_event_is_an_error() -> None:
    """Each of its lines is short, and no empty one ends it."""
    with serving(answering(streaming(*[b"data: " + b"x" * 500_000 + b"\n"] * 10))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            with pytest.raises(http.ProtocolError, match="event of more than"):
                async for _ in body.events():
                    pass


async def test_server_sent_events() -> None:
    text = b"\xef\xbb\xbf: hello\nid: 1\nevent: add\ndata: a\ndata:  b\n\n"
    text += b"data\n\nevent: none\n\nid: 2\ndata: {}\r\n\r\ndata: cut"
    with serving(answering(streaming(text))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            events = [(event.event, event.data, event.id) async for event in body.events()]
    assert events == [("add", "a\n b", "1"), ("message", "", "1"), ("message", "{}", "2")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_events_whose_lines_end_in_any_way(end: str, size: int) -> None:
    text = end.join(["data: a", "data: b", "", "event: end", "data", "", ""]).encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    with serving(answering(streaming(*pieces))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            events = [(event.event, event.data) async for event in body.events()]
    assert events == [("message", "a\nb"), ("end", "")]


async def test_an_event_is_told_when_its_last_line_has_ended_in_any_way() -> None:
    """It does not wait for the byte after a carriage return."""

    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\r\r\r\n")
        told.wait(10)
        connection.send("9\r\n\ndata: b\n\r\n0\r\n\r\n")

    told = threading.Event()
    with serving(answering(answer)) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            events = body.events()
            assert (await anext(events)).data == "a"
            told.set()
            assert [event.data async for event in events] == []


async def test_a_loop_that_is_left_goes_on_with_the_next() -> None:
    with serving(answering(streaming(b"one\ntwo\nthree\nfo", b"ur\nfive\nsix"))) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            async for line in body.lines():
                assert line == "one"
                break
            async for line in body.lines():
                assert line == "two"
                break
            assert b"".join([piece async for piece in body]) == b"three\nfour\nfive\nsix"


async def test_a_cancel_in_the_middle_of_a_line_or_an_event_loses_nothing() -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\nid: 7\ndata: first\nda")
        cancelled.wait(10)
        connection.send("ta: second\n\n")

    cancelled = threading.Event()
    with serving(answering(answer)) as server:
        async with http.Client(server.url).open("GET", "/") as body:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):  # real: until what has been sent has been read
                    async for _ in body.events():
                        pass
            cancelled.set()
            assert [(event.id, event.data) async for event in body.events()] == [("7", "first\nsecond")]
