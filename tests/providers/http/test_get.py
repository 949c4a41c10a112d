"""Requests: what goes out, what comes back, and how a request fails."""

import asyncio
import json
import random
import re
import zlib
from collections.abc import Callable

import pytest

from mountain_runtime import ConcurrencyLimit, Retry, Runtime, Timeout, _native, errors, gather, http
from tests.providers.http.server import Connection, Request, answering, echo, serving


async def test_a_request_goes_out_as_it_was_written_and_its_answer_comes_back() -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a=b\r\n\r\nhi")

    with serving(answering(answer)) as server:
        client = http.Client(f"{server.url}/v1", headers={"X-All": "yes"})
        answered = await client.post("things", json={"a": [1, None]}, headers=[("X-One", "1")])
        request = server.requests[0]
        assert (request.method, request.path, json.loads(request.body)) == ("POST", "/v1/things", {"a": [1, None]})
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-all"] == "yes"
        assert request.headers["x-one"] == "1"
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
        assert (answered.status, answered.version, answered.content, answered.text) == (201, "1.1", b"hi", "hi")
        assert (answered.url, answered.method) == (f"{server.url}/v1/things", "POST")
        assert answered.headers["X-A"] == answered.headers["x-a"] == "1, 2"
        assert answered.headers.all("X-a") == ["1", "2"]
        assert dict(answered.headers) == {"content-length": "2", "x-a": "1, 2", "set-cookie": "a=b"}
        assert "Nope" not in answered.headers
        assert answered.headers.get("nope", "no") == "no"
        with pytest.raises(KeyError):
            answered.headers["nope"]


async def test_parameters_and_forms() -> None:
    with serving(answering(echo)) as server:
        client = http.Client(server.url)
        await client.get("/a?x=1#part", params={"q": "a b&c", "n": [1, 2], "none": None})
        form = await client.request("PUT", "/f", data={"a": "ä", "b": "&"})
        assert [request.path for request in server.requests] == ["/a?x=1&q=a+b%26c&n=1&n=2", "/f"]
        assert form.content == b"a=%C3%A4&b=%26"
        assert server.requests[1].headers["content-type"] == "application/x-www-form-urlencoded"
        with pytest.raises(TypeError, match="not both"):
            client.post("/", json=1, data=b"")
        with pytest.raises(TypeError, match="encode"):
            client.post("/", data="text")  # type: ignore[arg-type]


async def test_a_form_with_files() -> None:
    with serving(answering(echo)) as server:
        form = await http.Client(server.url).post(
            "/", data={"a": "1"}, files={"f": ("x.txt", b"hello"), 'g"': ("y\r\nZ: 1", b"\0", "image/png")}
        )
        boundary = server.requests[0].headers["content-type"].removeprefix("multipart/form-data; boundary=")
        parts = form.content.split(f"--{boundary}".encode())
        head = b"\r\nContent-Disposition: form-data; name="
        first = head + b'"f"; filename="x.txt"\r\nContent-Type: application/octet-stream\r\n\r\nhello\r\n'
        second = head + b'"g%22"; filename="y%0D%0AZ: 1"\r\nContent-Type: image/png\r\n\r\n\0\r\n'
        assert parts == [b"", head + b'"a"\r\n\r\n1\r\n', first, second, b"--\r\n"]


async def test_idle_connections_close_with_the_runtime() -> None:
    with serving(answering(echo)) as server:
        client = http.Client(server.url)
        async with Runtime():
            await client.get("/")
            assert client._client.connections() == (1, 1)
        async with asyncio.timeout(5):  # real: connections close on their own thread
            while client._client.connections() != (0, 0):
                await asyncio.sleep(0.001)
        assert (await client.get("/")).status == 200


async def test_connections_are_kept_and_shared_within_their_limits() -> None:
    with serving(answering(echo)) as server:
        client = http.Client(server.url, per_host=3)
        await gather(*(client.get(f"/{n}") for n in range(50)))
        assert server.connections == 3
        assert client._client.connections() == (3, 3)
        async with client:
            await client.get("/")
        assert client._client.connections() == (0, 0)
        await client.get("/")
        assert server.connections == 4


async def test_room_for_another_host_is_made_by_what_is_idle() -> None:
    with serving(answering(echo)) as one, serving(answering(echo)) as two:
        client = http.Client(connections=2)
        await gather(*(client.get(server.url) for _ in range(20) for server in (one, two)))
        await client.get(one.url)
        await client.get(two.url)
        assert client._client.connections()[0] <= 2


async def test_a_whole_request_is_native_under_policies() -> None:
    with serving(answering(echo)) as server:
        effect = http.Client(server.url).get("/x").under(Timeout(5), Retry(on=http.transient), ConcurrencyLimit(2))
        assert _native.is_native(effect)
        assert repr(effect) == "<Effect http.get('/x').under(Timeout(5), Retry(on=transient), ConcurrencyLimit(2))>"
        assert (await effect).headers["x-path"] == "/x"


async def test_a_status_is_a_failure_unless_it_is_asked_for() -> None:
    with serving(answering(lambda connection, request: connection.answer(404, b"gone"))) as server:
        client = http.Client(server.url)
        with pytest.raises(http.StatusError, match=f"GET {server.url}/x was answered with 404") as caught:
            await client.get("/x")
        assert (caught.value.response.status, caught.value.response.content) == (404, b"gone")
        assert caught.value.effect == "http.get"
        answered = await client.get("/x", check=False)
        with pytest.raises(http.StatusError) as again:
            answered.raise_for_status()
        assert again.value.response is answered
        assert client._client.connections() == (1, 1)


async def test_what_cannot_be_sent_is_refused_where_it_is_written() -> None:
    client = http.Client("http://a.test")
    bad: list[Callable[[], object]] = [
        lambda: client.get("/", headers={"a": "x\r\nContent-Length: 0"}),
        lambda: client.get("/", headers={"a\r\n": "x"}),
        lambda: client.get("/", headers={"Transfer-Encoding": "chunked"}),
        lambda: client.get("/", headers={"content-length": "3"}),
        lambda: client.request("GET / HTTP/1.1\r\nX:", "/"),
        lambda: http.Client().get("/x"),
        lambda: http.Client().get("ftp://a.test"),
    ]
    for call in bad:
        with pytest.raises(ValueError, match=r"."):
            call()
    for settings in ({"proxy": "socks5://x"}, {"base": "x:y"}, {"per_host": 0}, {"ca": __file__}):
        with pytest.raises(errors.ConfigError):
            http.Client(**settings)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        http.Client(ca="/none/such.pem")


async def test_no_connection_is_a_builtin_error() -> None:
    with serving(answering(echo)) as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to 127.0.0.1:{port}"):
        await http.Client().get(f"http://127.0.0.1:{port}/")
    with pytest.raises(OSError, match=r"cannot resolve nowhere\.invalid"):
        await http.Client().get("http://nowhere.invalid/")


async def test_a_unix_socket(tmp_path: object) -> None:
    path = f"{tmp_path}/s"
    with serving(answering(echo), path=path) as server:
        answered = await http.Client(f"unix:{path}").post("/x", data=b"hi")
        assert (answered.content, answered.headers["x-path"]) == (b"hi", "/x")
        assert server.requests[0].headers["host"] == "localhost"
    with pytest.raises(FileNotFoundError):
        await http.Client("unix:/none/such").get("/")


@pytest.mark.parametrize("wbits", [31, 15])
async def test_a_packed_body_is_unpacked(wbits: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(b"hello" * 1000) + packer.flush()
    name = "gzip" if wbits == 31 else "deflate"
    with serving(answering(lambda connection, _: connection.answer(200, packed, content_encoding=name))) as server:
        assert (await http.Client(server.url).get("/")).content == b"hello" * 1000
        assert server.requests[0].headers["accept-encoding"] == "gzip, br, zstd"


async def test_cancelled_requests_leave_the_pool_idle_and_usable() -> None:
    """At any moment: while it connects, waits for a connection, waits for the answer, or reads the body."""

    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        connection.send(bytes(50_000))
        connection.send(bytes(50_000))

    with serving(answering(answer)) as server:
        client = http.Client(server.url, per_host=2)
        for moment in range(30):
            tasks = [asyncio.ensure_future(client.get("/")) for _ in range(4)]
            for _ in range(moment):
                await asyncio.sleep(0)
            if moment % 3 == 0:
                await asyncio.wait(tasks, timeout=0.0005)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert [len((await client.get("/")).content) for _ in range(3)] == [100_000] * 3
        async with asyncio.timeout(5):  # real: connections close on their own thread
            while client._client.connections()[0] != client._client.connections()[1]:
                await asyncio.sleep(0.001)


async def test_random_cancels_single_and_double_leave_the_pool_idle_and_usable() -> None:
    dice = random.Random(16)
    with serving(answering(echo)) as server:
        client = http.Client(server.url, per_host=3)

        async def one() -> None:
            task = asyncio.ensure_future(client.post("/", data=bytes(dice.choice((0, 10, 100_000)))))
            for times in range(dice.randrange(3)):
                await asyncio.sleep(dice.choice((0, 0, 0.0002, 0.002)) * times)
                task.cancel()
            await asyncio.wait([task])

        await asyncio.gather(*(one() for _ in range(300)))
        assert [(await client.get("/")).status for _ in range(5)] == [200] * 5
        async with asyncio.timeout(5):  # real: connections close on their own thread
            while client._client.connections()[0] != client._client.connections()[1] or _native.at_work():
                await asyncio.sleep(0.001)
        assert client._client.connections()[0] <= 3


async def test_a_limit_ends_a_request_that_its_server_draws_out() -> None:
    """A slow-loris: a byte now and then."""

    def drip(connection: Connection) -> None:
        connection.request()
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            connection.send(b".")
            connection.sock.settimeout(0.01)
            try:
                if not connection.read():
                    return
            except TimeoutError:
                pass

    with serving(drip) as server:
        client = http.Client(server.url)
        with pytest.raises(errors.TimedOut):
            await client.get("/").under(Timeout(0.05))  # real: a socket knows no virtual time
        async with asyncio.timeout(5):
            while client._client.connections() != (0, 0):
                await asyncio.sleep(0.001)


async def test_a_large_body_is_the_same_as_a_small_one() -> None:
    """It is copied elsewhere."""
    for count in (0, (128 << 10) - 2, (128 << 10) - 1, 1_000_000):
        body = b"[" + b"1," * count + b"1]"
        with serving(answering(lambda connection, _, body=body: connection.answer(200, body))) as server:  # type: ignore[misc]
            answered = await http.Client(server.url).get("/")
            assert answered.content == body
            assert answered.text == body.decode()
            assert len(answered.json()) == count + 1
            assert repr(answered).endswith(f"{len(body)} bytes>")


async def test_answers_are_counted_by_host_and_status() -> None:
    def counted() -> dict[str, int]:
        text = _native.metrics_text(openmetrics=False)
        rows = re.findall(
            rf'^mountain_http_answers_total{{host="127.0.0.1:{port}",status="(.+)"}} (\d+)$', text, re.MULTILINE
        )
        return {status: int(number) for status, number in rows}

    with serving(answering(lambda connection, request: connection.answer(int(request.path[1:])))) as server:
        client, port = http.Client(server.url), server.port
        before = counted()  # of another server that has had this port
        for status in (200, 204, 404, 503):
            await client.get(f"/{status}", check=False)
        await client.get("/200")
    with pytest.raises(ConnectionRefusedError):
        await client.get("/200")
    now = counted()
    assert list(now) == ["2xx", "4xx", "5xx", "none"]
    assert [number - before.get(status, 0) for status, number in now.items()] == [3, 1, 1, 1]
