"""Cancels at each turn of the loop, in each way: a call ends in its value or its cancel, and leaves nothing."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mountain_runtime import _native, http
from tests.providers.http.server import Connection, Request, answering, serving, streaming

TURNS = 24
LARGE = bytes(300_000)
NUMBERS = b"[" + b"1," * 150_000 + b"1]"

Call = Callable[[http.Client, Path], Awaitable[Any]]


def answer(connection: Connection, request: Request) -> None:
    if request.path == "/numbers":
        connection.answer(200, NUMBERS, content_type="application/json")
    elif request.path == "/lines":
        streaming(*[b"a\nb", b"c\n", b"dd\n"] * 3)(connection, request)
    elif request.path == "/events":
        streaming(*[b"data: a\n", b"\ndata: b\n\n"] * 3)(connection, request)
    elif request.path == "/elsewhere":
        connection.answer(302, b"go", location="/lines")
    else:
        connection.answer(200, request.body or LARGE)


async def get(client: http.Client, _: Path) -> int:
    return len((await client.get("/large")).content)


async def value(client: http.Client, _: Path) -> int:
    return len((await client.get("/numbers")).json())


async def post(client: http.Client, _: Path) -> int:
    return len((await client.post("/echo", data=LARGE)).content)


async def pieces(client: http.Client, _: Path) -> int:
    async with client.open("POST", "/echo", data=LARGE) as body:
        return sum([len(piece) async for piece in body])


async def lines(client: http.Client, _: Path) -> list[str]:
    async with client.open("GET", "/elsewhere") as body:
        return [line async for line in body.lines()]


async def events(client: http.Client, _: Path) -> list[str]:
    async with client.open("GET", "/events") as body:
        return [event.data async for event in body.events()]


async def download(client: http.Client, folder: Path) -> int:
    return await client.download("/large", folder / "file", resume=False)


CALLS: list[Call] = [get, value, post, pieces, lines, events, download]


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def once(call: Awaitable[Any], number: int) -> Any:
    task = asyncio.ensure_future(call)
    await turns(number)
    task.cancel()
    return await task


async def twice(call: Awaitable[Any], number: int) -> Any:
    task = asyncio.ensure_future(call)
    for count in (number, number % 3):
        await turns(count)
        task.cancel()
    return await task


async def by_a_scope(call: Awaitable[Any], number: int) -> Any:
    async def within() -> Any:
        with scope:
            return await call
        raise asyncio.CancelledError

    scope = anyio.CancelScope()
    task = asyncio.ensure_future(within())
    await turns(number)
    scope.cancel()
    return await task


async def by_a_timeout(call: Awaitable[Any], number: int) -> Any:
    """Real: a socket knows no virtual time."""
    try:
        async with asyncio.timeout(number / 10_000):
            return await call
    except TimeoutError:
        raise asyncio.CancelledError from None


async def behind_a_shield(call: Awaitable[Any], number: int) -> Any:
    inner = asyncio.ensure_future(call)

    async def waits() -> None:
        await asyncio.shield(inner)

    with pytest.raises(asyncio.CancelledError):
        await once(waits(), min(number, 1))
    return await inner


@pytest.fixture
def files() -> Iterator[None]:
    """No file descriptor is left, beside those of the thread of connections."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    for _ in range(1000):  # real: what was given up closes its files on threads of its own
        if len(os.listdir("/proc/self/fd")) <= before + 4:
            break
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before + 4


@pytest.mark.parametrize("how", [once, twice, by_a_scope, by_a_timeout, behind_a_shield])
async def test_a_cancel_at_each_turn(
    how: Callable[[Awaitable[Any], int], Awaitable[Any]], tmp_path: Path, files: None, loop_complaints: list[str]
) -> None:
    with serving(answering(answer)) as server:
        client = http.Client(server.url, per_host=3)
        for call in CALLS:
            expected = await call(client, tmp_path)
            for number in range(TURNS):
                try:
                    assert await how(call(client, tmp_path), number) == expected
                except asyncio.CancelledError:
                    assert how is not behind_a_shield
        async with asyncio.timeout(5):  # real: connections and files close on their own threads
            while len(set(client._client.connections())) > 1 or _native.at_work() or len(list(tmp_path.iterdir())) > 1:
                await asyncio.sleep(0.001)
        assert await get(client, tmp_path) == len(LARGE)
        assert (tmp_path / "file").read_bytes() == LARGE
        client._client.close()
        async with asyncio.timeout(5):
            while server.open:
                await asyncio.sleep(0.001)
    assert loop_complaints == []
