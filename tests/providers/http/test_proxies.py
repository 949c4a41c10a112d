"""Proxies: by a setting and by the environment."""

import contextlib
import socket
import threading

import pytest

from mountain_runtime import errors, http
from tests.providers.http.server import Connection, Request, answering, echo, serving
from tests.providers.http.test_tls import CA, context


def tunnelling(connection: Connection) -> None:
    """Leads a CONNECT to where it asks, and answers other requests by itself."""
    request = connection.request()
    if request is None or request.method != "CONNECT":
        connection.answer(200, b"by proxy")
        return
    host, port = request.path.split(":")
    with socket.create_connection((host, int(port))) as there:
        connection.send("HTTP/1.1 200 OK\r\n\r\n")

        def back() -> None:
            with contextlib.suppress(OSError):
                while data := there.recv(65536):
                    connection.send(data)

        thread = threading.Thread(target=back)
        thread.start()
        with contextlib.suppress(OSError):
            while data := connection.read():
                there.sendall(data)
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


async def test_a_request_goes_by_its_proxy() -> None:
    with serving(tunnelling) as proxy:
        client = http.Client(proxy=f"http://me:secret@127.0.0.1:{proxy.port}", headers={"Authorization": "mine"})
        assert (await client.get("http://nowhere.invalid/x?y")).content == b"by proxy"
        request = proxy.requests[0]
        assert (request.path, request.headers["host"]) == ("http://nowhere.invalid/x?y", "nowhere.invalid")
        assert request.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert request.headers["authorization"] == "mine"


async def test_tls_goes_through_a_tunnel() -> None:
    with serving(tunnelling) as proxy, serving(answering(echo), context()) as server:
        client = http.Client(proxy=f"http://me:secret@127.0.0.1:{proxy.port}", ca=CA, headers={"Authorization": "mine"})
        assert (await client.get(f"{server.url}/x")).headers["x-path"] == "/x"
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        assert "authorization" not in proxy.requests[0].headers
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert "proxy-authorization" not in server.requests[0].headers


async def test_a_proxy_that_refuses_is_an_error() -> None:
    def refuse(connection: Connection, request: Request) -> None:
        connection.answer(407 if "a.test" in request.path else 502)

    with serving(answering(refuse)) as proxy:
        client = http.Client(proxy=proxy.url, ca=CA)
        with pytest.raises(PermissionError, match="407"):
            await client.get("https://a.test/")
        with pytest.raises(OSError, match="502"):
            await client.get("https://b.test/")


async def test_the_environment_names_proxies_and_exceptions(environment: pytest.MonkeyPatch) -> None:
    with serving(tunnelling) as proxy, serving(answering(echo)) as server:
        environment.setenv("HTTP_PROXY", proxy.url)
        for exceptions, by_proxy in {
            "": True,
            "127.0.0.0/8": False,
            "10.0.0.0/8,127.0.0.0/30": False,
            "127.0.0.2/32": True,
            "127.0.0.1": False,
            f"127.0.0.1:{server.port}": False,
            "*": False,
            "example.org": True,
        }.items():
            environment.setenv("NO_PROXY", exceptions)
            answered = await http.Client().get(server.url)
            assert (answered.content == b"by proxy") == by_proxy, exceptions
        environment.setenv("NO_PROXY", "")
        assert (await http.Client(proxy="").get(server.url)).content == b""
        environment.setenv("REQUEST_METHOD", "GET")
        assert (await http.Client().get(server.url)).content == b"", "a CGI's client does not choose the proxy"


def test_what_a_proxy_leads_to_cannot_be_looked_at() -> None:
    with pytest.raises(errors.ConfigError, match="public_only"):
        http.Client(proxy="http://127.0.0.1:1", public_only=True)
    with pytest.raises(errors.ConfigError, match="public_only"):
        http.Client("unix:/x", public_only=True)
