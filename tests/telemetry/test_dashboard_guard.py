"""The requests that the live page's server answers, and its address."""

import logging
import os
from typing import Any

import httpx
import pytest

from mountain_runtime import Runtime
from mountain_runtime.errors import ConfigError

from .looks import HERE, busy, named, port, raw, ready, snapshot, url

# -- who may look --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_a_foreign_host_is_refused(client: httpx.AsyncClient, host: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        for path in ("/", "/events", "/metrics"):
            answer = await client.get(url(rt, path), headers={"Host": host})
            assert answer.status_code == 403, path
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_foreign_origin_is_refused(client: httpx.AsyncClient, origin: str) -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert (await client.get(url(rt, "/events"), headers={"Origin": origin})).status_code == 403
        own = url(rt).rstrip("/")
        assert (await client.get(url(rt), headers={"Origin": own})).status_code == 200


async def test_a_request_without_a_host_is_refused() -> None:
    async with Runtime(dashboard=HERE) as rt:
        assert await raw(rt, "GET / HTTP/1.1\nX-None: 1") == 400
        assert await raw(rt, "GET /metrics HTTP/1.0\nX-None: 1") == 400
        assert await raw(rt, "GET / HTTP/1.1\nHost: 127.0.0.1\nHost: 127.0.0.1") == 400


async def test_the_host_of_the_request_line_counts() -> None:
    async with Runtime(dashboard=HERE) as rt:
        for path in ("/", "/metrics", "/livez"):
            assert await raw(rt, f"GET http://127.0.0.1{path} HTTP/1.1\nHost: 127.0.0.1") == 200
        assert await raw(rt, "GET http://evil.example/metrics HTTP/1.1\nHost: 127.0.0.1") == 403


async def test_who_has_the_token_may_call_the_machine_as_its_network_does(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=f"secret@{HERE}") as rt:
        for host in ("shop.example:9600", "127.0.0.1"):
            headers = {"Host": host, "Authorization": "Bearer secret"}
            assert (await client.get(url(rt, "/metrics"), headers=headers)).status_code == 200
            assert (await client.get(url(rt, "/metrics"), headers={"Host": host})).status_code == 401
            admitted = await client.get(url(rt, "/?token=secret"), headers={"Host": host})
            assert admitted.status_code == 303
            client.cookies.clear()


async def test_who_has_no_token_sees_only_the_probes(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=f"secret@{HERE}") as rt:
        for path in ("/", "/app.js", "/events", "/metrics", "/?token=", "/?token=secre", "/metrics?token=secret"):
            assert (await client.get(url(rt, path))).status_code == 401, path
        for bearer in ("Bearer wrong", "Bearer", "Basic secret", "secret"):
            answer = await client.get(url(rt), headers={"Authorization": bearer})
            assert answer.status_code == 401, bearer
            assert "secret" not in answer.text
        for path in ("/", "/metrics"):
            assert (await client.get(url(rt, path), headers={"Authorization": "Bearer secret"})).status_code == 200
        assert (await client.get(url(rt, "/livez"))).status_code == 200
        await ready(client, rt)


async def test_a_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=f"secret@{HERE}") as rt:
        assert rt._page is not None
        assert rt._page.url == url(rt, "/?token=secret")
        admitted = await client.get(rt._page.url)
        assert admitted.status_code == 303
        assert admitted.headers["location"] == "/"
        cookie = admitted.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await client.get(url(rt))).status_code == 200
        assert (await snapshot(client, rt)).kinds == ["snapshot"]
        client.cookies.clear()
        assert (await client.get(url(rt))).status_code == 401


async def test_an_address_that_others_reach_has_a_token_that_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime.dashboard"):
        async with Runtime(dashboard="0.0.0.0:0") as rt:
            assert rt._page is not None
            token = httpx.URL(rt._page.url).params["token"]
            assert len(token) >= 20
            [said] = [record for record in caplog.records if record.name == "mountain_runtime.dashboard"]
            assert said.levelno == logging.WARNING
            assert rt._page.url in said.getMessage()
            here = f"http://127.0.0.1:{port(rt)}/"
            assert (await client.get(here)).status_code == 401
            assert (await client.get(here, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_the_page_opens_beside_many_other_cookies_of_its_host(client: httpx.AsyncClient) -> None:
    """Cookies are those of all ports of a host."""
    async with Runtime(dashboard=f"s3cret@{HERE}") as rt:
        admitted = await client.get(url(rt) + "?token=s3cret")
        assert admitted.status_code == 303
        name, _, value = admitted.headers["set-cookie"].partition(";")[0].partition("=")
        assert str(port(rt)) in name
        cookies = f"other={'x' * 4000}; {name}={value}; mountain_token_1=of-another-page"
        assert (await client.get(url(rt), headers={"Cookie": cookies})).status_code == 200


@pytest.mark.parametrize("given", ["s3cret@127.0.0.1:0", "127.0.0.1:0"])
async def test_a_token_that_was_given_is_not_logged(given: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mountain_runtime.dashboard"):
        async with Runtime(dashboard=given) as rt:
            address = url(rt)
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("INFO", f"the dashboard is at {address}")


async def test_a_token_is_in_no_error() -> None:
    with pytest.raises(ConfigError) as caught:
        async with Runtime(dashboard="s3cret@127.0.0.1:none"):
            pass
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:none" in str(caught.value)


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["", "9600", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", f"@{HERE}", f"a b@{HERE}", f"a;b@{HERE}"]
)
async def test_an_address_that_is_none_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="dashboard"):
        async with Runtime(dashboard=address):
            pass


@pytest.mark.parametrize("address", [9600, b"127.0.0.1:9600", ("127.0.0.1", 9600)])
def test_an_address_that_is_no_text_is_a_config_error_at_once(address: Any) -> None:
    with pytest.raises(ConfigError, match="must be a text"):
        Runtime(dashboard=address)


async def test_it_is_opened_and_closed_again_in_one_process(client: httpx.AsyncClient) -> None:
    address = HERE
    before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
    for _ in range(3):
        async with Runtime(dashboard=address) as rt:
            address = f"127.0.0.1:{port(rt)}"
            assert (await client.get(url(rt))).status_code == 200
            assert (await snapshot(client, rt)).state["pid"] == os.getpid()
        with pytest.raises(httpx.ConnectError):
            await client.get(url(rt))
    if before is not None:
        assert len(os.listdir("/proc/self/task")) <= before + 2, "a server's thread was left behind"


async def test_two_runtimes_may_have_a_page_each(client: httpx.AsyncClient) -> None:
    name = named()
    async with Runtime(dashboard=HERE) as one, Runtime(dashboard=HERE) as two:
        await busy(name)
        assert port(one) != port(two)
        for rt in (one, two):
            assert (await snapshot(client, rt)).state["effects"][name]["started"] == 8
