"""Probes are answered with 200 or 503, however they are asked, by how the program is at that moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from mountain_runtime import Key, Runtime
from mountain_runtime.telemetry import _dashboard
from tests.lifecycle.support import LONG

from .looks import HERE, raw, snapshot, url

PATHS = ["/livez", "/readyz", "/livez/", "/readyz/"]


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's timer, by which it would learn the state, is off here."""
    monkeypatch.setattr(_dashboard, "_EVERY", LONG)


@asynccontextmanager
async def stopping(rt: Runtime) -> AsyncIterator[None]:
    """A shutdown that has begun, and does not end within the block."""
    leave = asyncio.Event()

    async def waits() -> None:
        await leave.wait()

    rt.defer(waits)
    rt._begin_close(drain=True)
    try:
        yield
    finally:
        leave.set()


@pytest.mark.parametrize("address", [HERE, f"secret@{HERE}"], ids=["open", "token"])
async def test_however_a_probe_is_asked_it_is_answered(address: str) -> None:
    ways = [
        "{path} HTTP/1.0\nX-None: 1",  # HAProxy, and others of its age
        "{path} HTTP/1.1\nX-None: 1",
        "{path} HTTP/1.1\nHost: shop.example:9600",
        "{path} HTTP/1.1\nHost: 127.0.0.1\nOrigin: http://evil.example",
        "{path}?from=probe HTTP/1.1\nHost: 127.0.0.1",
        "http://shop.example{path} HTTP/1.1\nHost: shop.example",
    ]
    async with Runtime(dashboard=address) as rt:
        for method in ("GET", "HEAD"):
            for path in PATHS:
                for way in ways:
                    assert await raw(rt, f"{method} {way.format(path=path)}") == 200, (method, path, way)
        async with stopping(rt):
            for method in ("GET", "HEAD"):
                for path in PATHS:
                    right = 503 if "ready" in path else 200
                    for way in ways:
                        assert await raw(rt, f"{method} {way.format(path=path)}") == right, (method, path, way)


async def test_a_head_has_no_body(client: httpx.AsyncClient) -> None:
    async with Runtime(dashboard=HERE) as rt:
        for path in ("/", "/app.js", "/metrics", "/metrics/", "/livez", "/readyz"):
            answer = await client.head(url(rt, path))
            assert (answer.status_code, answer.content) == (200, b""), path


async def test_readiness_is_that_of_the_moment(client: httpx.AsyncClient) -> None:
    """At each of its changes, without the page's timer."""
    store, go, crash, stop = Key[str]("store"), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opens() -> AsyncIterator[str]:
        await go.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield "store"
            await stop.wait()

    async def fails() -> None:
        await crash.wait()
        raise OSError("the disk has gone")

    async def ready(rt: Runtime) -> int:
        answer = (await client.get(url(rt, "/readyz"))).status_code
        assert answer == (200 if rt.health().ready else 503)
        assert (await snapshot(client, rt)).state["ready"] is rt.health().ready
        return answer

    rt = Runtime(dashboard=HERE).provide(store, opens)
    entering = asyncio.create_task(rt.__aenter__())
    await asyncio.sleep(0)
    assert await ready(rt) == 503
    go.set()
    await entering
    assert await ready(rt) == 200
    crash.set()
    async with asyncio.timeout(5):
        while rt.health().ready:
            await asyncio.sleep(0)
    assert await ready(rt) == 503
    await rt.__aexit__(None, None, None)

    async with Runtime(dashboard=HERE) as other:
        assert await ready(other) == 200
        async with stopping(other):
            assert await ready(other) == 503
