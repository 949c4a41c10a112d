"""Requests that a test answers: in virtual time, under any policies, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mountain_runtime import Fallback, RateLimit, Retry, Timeout, constant, errors, http, testing
from mountain_runtime.testing import Reply, Request, VirtualClock


async def test_a_request_is_answered_by_the_test() -> None:
    def answer(request: Request) -> Reply:
        return Reply(201, json={"asked": request.json()}, headers={"X-A": "1"})

    with testing.http(answer) as requests:
        client = http.Client("https://api.test/v1", headers={"Authorization": "x"})
        answered = await client.post("/things", json=[1])
    assert (answered.status, answered.json(), answered.headers["x-a"]) == (201, {"asked": [1]}, "1")
    assert (answered.url, answered.method) == ("https://api.test/v1/things", "POST")
    assert [(request.method, request.url, request.content) for request in requests] == [
        ("POST", "https://api.test/v1/things", b"[1]")
    ]
    assert requests[0].headers["authorization"] == "x"


async def test_what_it_raises_and_its_statuses_are_failures() -> None:
    def refuse(request: Request) -> Reply:
        raise ConnectionRefusedError(111, "no")

    client = http.Client("http://a.test")
    with testing.http(refuse), pytest.raises(ConnectionRefusedError):
        await client.get("/")
    with testing.http(lambda _: Reply(404, b"gone")):
        with pytest.raises(http.StatusError) as caught:
            await client.get("/")
        assert caught.value.response.content == b"gone"
        assert (await client.get("/", check=False)).status == 404


async def test_policies_work_and_time_jumps(virtual_clock: VirtualClock) -> None:
    calls = 0

    async def answer(request: Request) -> Reply:
        nonlocal calls
        calls += 1
        await asyncio.sleep(10 if calls < 3 else 1)
        return Reply(503, headers={"Retry-After": "7"}) if calls == 3 else Reply(body=b"ok")

    with testing.http(answer):
        client = http.Client("http://a.test")
        policies = (Retry(on=http.transient, attempts=4, backoff=constant(1)), Timeout(5))
        assert (await client.get("/").under(*policies)).content == b"ok"
        assert (calls, virtual_clock.time()) == (4, pytest.approx(5 + 1 + 5 + 1 + 1 + 7 + 1))
        calls = 0
        with pytest.raises(errors.TimedOut):
            await client.post("/").under(*policies)
        assert calls == 1


async def test_a_key_sees_what_it_sees_of_a_request_that_is_sent() -> None:
    seen: list[str] = []

    def key(url: str) -> str:
        seen.append(url)
        return url

    with testing.http(lambda _: Reply()):
        await (
            http.Client("http://a.test")
            .get("/x")
            .under(RateLimit(5, per=1, key=key), Fallback(lambda error: None, on=ValueError))
        )
    assert seen == ["/x"]


async def test_a_body_in_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0)
            yield b"line %d\n" % n

    kinds: list[Callable[[], Reply]] = [
        lambda: Reply(body=pieces()),
        lambda: Reply(body=[b"line 0\nli", b"ne 1\nline 2\n"]),
        lambda: Reply(body=b"line 0\nline 1\nline 2\n"),
    ]
    for kind in kinds:
        with testing.http(lambda _, kind=kind: kind()):  # type: ignore[misc]
            async with http.Client("http://a.test").open("GET", "/") as body:
                assert [line async for line in body.lines()] == ["line 0", "line 1", "line 2"]
    with testing.http(lambda _: Reply(500, b"why")), pytest.raises(http.StatusError) as caught:
        async with http.Client("http://a.test").open("GET", "/"):
            raise AssertionError
    assert caught.value.response.content == b"why"


async def test_a_download(tmp_path: Path) -> None:
    with testing.http(lambda _: Reply(body=b"content")):
        assert await http.Client("http://a.test").download("/", tmp_path / "x") == 7
    assert (tmp_path / "x").read_bytes() == b"content"


async def test_blocks_nest_and_end() -> None:
    client = http.Client("http://127.0.0.1:1")
    with testing.http(lambda _: Reply(body=b"outer")):
        with testing.http(lambda _: Reply(body=b"inner")):
            assert (await client.get("/")).content == b"inner"
        assert (await client.get("/")).content == b"outer"
    with pytest.raises(ConnectionRefusedError):
        await client.get("/")
