"""Redirects: bounded, and no way to a client's credentials."""

import pytest

from mountain_runtime import http
from tests.providers.http.server import Connection, Request, answering, echo, serving

SECRETS = {"Authorization": "Bearer x", "Cookie": "a=b", "Proxy-Authorization": "Basic y"}


async def test_credentials_never_reach_another_origin_nor_come_back() -> None:
    def back(connection: Connection, request: Request) -> None:
        connection.answer(307, location=f"{home.url}/end")

    def away(connection: Connection, request: Request) -> None:
        where = {"/start": "/same", "/same": f"{other.url}/x"}.get(request.path)
        if where is None:
            connection.answer(200, b"end")
        else:
            connection.answer(307, location=where)

    with serving(answering(back)) as other, serving(answering(away)) as home:
        answered = await http.Client(home.url, headers=SECRETS).post("/start", data=b"body")
        assert (answered.content, answered.url) == (b"end", f"{home.url}/end")
        sent = [
            (request.path, {name.lower() for name in SECRETS} & request.headers.keys()) for request in home.requests
        ]
        kept = {name.lower() for name in SECRETS}
        assert sent == [("/start", kept), ("/same", kept), ("/end", set())]
        assert {name.lower() for name in SECRETS} & other.requests[0].headers.keys() == set()
        assert [request.body for request in home.requests] == [b"body"] * 3


async def test_a_login_in_an_address_is_sent_there_only() -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.answer(302, location=f"http://me:evil@127.0.0.1:{other.port}/")

    with serving(answering(echo)) as other, serving(answering(answer)) as server:
        await http.Client().get(f"http://me:secret@127.0.0.1:{server.port}/")
        assert server.requests[0].headers["authorization"] == "Basic bWU6c2VjcmV0"
        assert "authorization" not in other.requests[0].headers


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", b""), (302, "GET", b""), (303, "GET", b""), (307, "POST", b"x"), (308, "POST", b"x")],
)
async def test_the_method_changes_as_in_browsers(status: int, method: str, body: bytes) -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.answer(status if request.path == "/a" else 200, location="b?c=1")

    with serving(answering(answer)) as server:
        answered = await http.Client(server.url).post("/a", data=b"x")
        last = server.requests[-1]
        assert (last.method, last.path, last.body, answered.method) == (method, "/b?c=1", body, method)
        assert server.connections == 1


async def test_a_redirect_leads_to_http_only() -> None:
    with serving(answering(lambda connection, _: connection.answer(302, location="file:///etc/passwd"))) as server:
        with pytest.raises(http.ProtocolError, match="only http and https"):
            await http.Client(server.url).get("/")


PRIVATE = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://2130706433:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://localhost:{port}/",
    "http://10.0.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_client_for_the_public_refuses_what_is_not(address: str) -> None:
    with serving(answering(echo)) as server:
        with pytest.raises(PermissionError, match="public_only"):
            await http.Client(public_only=True).get(address.format(port=server.port))
        assert server.connections == 0


async def test_cookies_are_kept_where_that_is_asked_for() -> None:
    """Through redirects too, and for no other host."""

    def answer(connection: Connection, request: Request) -> None:
        if request.path == "/login":
            connection.answer(302, location="/home", set_cookie="session=1; HttpOnly")
        else:
            connection.answer(200)

    async def seen(client: http.Client) -> list[str | None]:
        server.requests.clear()
        await client.post("/login")
        await client.get("/more", headers={"Cookie": "own=2"})
        await client.get(f"http://localhost:{server.port}/")
        return [request.headers.get("cookie") for request in server.requests]

    with serving(answering(answer)) as server:
        assert await seen(http.Client(server.url)) == [None, None, "own=2", None]
        client = http.Client(server.url, cookies=True)
        assert await seen(client) == [None, "session=1", "own=2; session=1", None]
        assert (await seen(client))[0] == "session=1"
        assert await seen(http.Client(server.url, cookies=True)) == [None, "session=1", "own=2; session=1", None]
