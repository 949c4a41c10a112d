"""Connections: which of them are kept, and which request is next."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from mountain_runtime import http
from tests.providers.http.server import Connection, Request, answering, serving


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):  # real: connections close on their own thread
        while not holds():
            await asyncio.sleep(0.001)


async def test_a_server_that_answers_early_and_reads_no_further_keeps_no_connection() -> None:
    """The connection could not be used again: a request on it would wait without end."""
    over = threading.Event()

    def script(connection: Connection) -> None:
        while (head := connection._until(b"\r\n\r\n")) is not None:
            if head.startswith(b"POST"):
                connection.answer(413, b"no")
                over.wait(10)
                return
            connection.answer(200, b"ok")

    with serving(script) as server:
        client = http.Client(server.url)
        refused = await client.post("/", data=bytes(20_000_000), check=False)
        assert (refused.status, refused.content) == (413, b"no")
        async with asyncio.timeout(5):  # a failure would wait
            assert (await client.get("/")).content == b"ok"
        await until(lambda: client._client.connections() == (1, 1))
        async with client.open("POST", "/", data=bytes(20_000_000), check=False) as body:
            assert await anext(aiter(body)) == b"no"
        await until(lambda: client._client.connections() == (0, 0))
        over.set()


async def test_a_host_that_is_asked_all_the_time_leaves_room_to_another() -> None:
    asked = 0

    async def asks() -> None:
        nonlocal asked
        while not over:
            await client.get(busy.url)
            asked += 1

    with serving(answering(lambda connection, _: connection.answer(200))) as busy:
        with serving(answering(lambda connection, _: connection.answer(200, b"other"))) as other:
            client, over = http.Client(connections=2), False
            asking = [asyncio.ensure_future(asks()) for _ in range(6)]
            await until(lambda: asked > 10)
            for _ in range(3):
                before = asked
                async with asyncio.timeout(5):  # a failure would wait
                    assert (await client.get(other.url)).content == b"other"
                assert asked - before < 200
            over = True
            await asyncio.gather(*asking)
            assert busy.connections < 20, "a connection does not give way to each request"


async def test_the_first_loss_closes_all_that_were_kept() -> None:
    """A router that has forgotten one has forgotten the others: a request is not lost by each in turn."""
    all_there = threading.Barrier(3)

    def script(connection: Connection) -> None:
        request = connection.request()
        if request is not None and request.path == "/first":
            all_there.wait(10)
            connection.answer(200)
            connection.request()  # and no answer
        else:
            connection.answer(200, b"ok")

    with serving(script) as server:
        client = http.Client(server.url)
        await asyncio.gather(*(client.get("/first") for _ in range(3)))
        assert (await client.get("/then")).content == b"ok"
        assert [request.path for request in server.requests[3:]] == ["/then", "/then"]


async def test_a_redirect_does_not_wait_for_its_body() -> None:
    over = threading.Event()

    def answer(connection: Connection, request: Request) -> None:
        if request.path == "/":
            connection.send("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 100\r\n\r\nhal")
            over.wait(10)
        else:
            connection.answer(200, b"there")

    with serving(answering(answer)) as server:
        async with asyncio.timeout(5):  # a failure would wait
            assert (await http.Client(server.url).get("/")).content == b"there"
        over.set()


async def test_an_open_body_with_a_failing_status_does_not_wait_for_its_explanation() -> None:
    over = threading.Event()

    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nbecause")
        over.wait(10)

    with serving(answering(answer)) as server:
        async with asyncio.timeout(5):  # a failure would wait
            with pytest.raises(http.StatusError, match="500") as caught:
                async with http.Client(server.url).open("GET", "/"):
                    pass
        assert caught.value.response.content == b""
        over.set()
