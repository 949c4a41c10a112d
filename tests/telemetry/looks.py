"""Support for the tests of the live page's server: an open page as the events make it, and its contents."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mountain_runtime import Retry, Runtime, effect

#: A test that reads many figures of one state, or figures of seconds: states come as seldom as a user has them.
A_STATE_A_SECOND = pytest.mark.parametrize("tick", [1.0], ids=["a state a second"])

HERE = "127.0.0.1:0"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FILES = ["/", "/style.css", "/app.js"]


class Boom(Exception):
    """A failure of ours."""


def url(runtime: Runtime, path: str = "/") -> str:
    """Where the page is, without its token."""
    assert runtime._page is not None
    return runtime._page.url.split("/?")[0].rstrip("/") + path


def port(runtime: Runtime) -> int:
    found = httpx.URL(url(runtime)).port
    assert found is not None
    return found


async def raw(runtime: Runtime, head: str) -> int:
    """The status of an answer to a request that no client would make."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(runtime))
    try:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\nConnection: close\r\n\r\n")
        line = (await asyncio.wait_for(reader.read(), 5)).split(b"\r\n")[0]
    finally:
        writer.close()
        await writer.wait_closed()
    return int(line.split()[1])


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch, as RFC 7396 says it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class Look:
    """A page that is open: the state as its events make it."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.kinds: list[str] = []
        self.size = 0
        self.state: dict[str, Any] = {}

    async def next(self) -> str:
        """Takes in one event; its kind."""
        kind = ""
        async with asyncio.timeout(5):
            async for line in self._lines:
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    text = line.removeprefix("data:").strip()
                    self.size = len(text)
                    self.state = merge(self.state if kind == "delta" else None, json.loads(text))
                elif not line and kind:
                    self.kinds.append(kind)
                    return kind
        raise AssertionError("the stream has ended")

    async def until(self, true: Any) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not self.state or not true(self.state):
                await self.next()
        return self.state


@asynccontextmanager
async def looking(client: httpx.AsyncClient, runtime: Runtime, **headers: str) -> AsyncIterator[Look]:
    async with client.stream("GET", url(runtime, "/events"), headers=headers) as response:
        assert response.status_code == 200, response.status_code
        yield Look(response)


async def snapshot(client: httpx.AsyncClient, runtime: Runtime) -> Look:
    async with looking(client, runtime) as look:
        assert await look.next() == "snapshot"
    return look


async def ready(client: httpx.AsyncClient, runtime: Runtime) -> None:
    async with asyncio.timeout(5):
        while (await client.get(url(runtime, "/readyz"))).status_code != 200:
            await asyncio.sleep(0.01)  # it is pinned up a few times a second


def named(what: str = "work") -> str:
    """The name of an effect that no other test has: the counters are the process's."""
    return f"{what}-{uuid4().hex[:8]}"


def counted(runtime: Runtime, name: str) -> dict[str, int]:
    found = runtime.statistics().effects[name]
    fields = ("started", "succeeded", "failed", "timed_out", "cancelled", "retried", "rejected", "degraded")
    return {field: getattr(found, field) for field in fields}


async def busy(name: str) -> None:
    """Some calls of an effect of that name: 5 succeed, one after a retry; 3 fail."""
    calls = {"n": 0}

    @effect(Retry(on=OSError, attempts=2), name=name)
    async def work(n: int) -> int:
        calls["n"] += 1
        if n >= 5:
            raise Boom(f"number {n}")
        if n == 0 and calls["n"] == 1:
            raise OSError("once")
        return n

    for n in range(8):
        try:
            await work(n)
        except Boom:
            pass
