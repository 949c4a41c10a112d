"""HTTP: small requests, 64 at a time, and one long answer, from a server on this machine beside other clients.

The server is a process of its own, in Rust where `benches/peers/build.py` has built it. It answers `/N` with N bytes of
zero.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benches.harness import OURS, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.memory import resident
from benches.peers.build import PLACE
from benches.workloads import side_by_side
from mountain_runtime import CircuitBreaker, ConcurrencyLimit, RateLimit, Retry, Timeout, http

CLIENTS = ("httpx", "aiohttp", "niquests", "pyreqwest")
STACK = "aiohttp, tenacity, aiolimiter, purgatory"
CASES: Mapping[str, tuple[str, ...]] = {
    "get": CLIENTS,
    "get-cpu": CLIENTS,
    "get-stack": (STACK,),
    "stream": ("aiohttp",),
}

AT_A_TIME = 64
SIZE = 1 << 10
BODY = bytes(SIZE)
#: Clients that would take most of a run's time do a part of the requests: the figures are for one.
SLOW = {"httpx": 20, "niquests": 8}
#: So many that no call waits.
MANY = 1_000_000_000
#: Memory is looked at after so many pieces.
OFTEN = 50

Get = Callable[[], Awaitable[bytes]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The four cases, of three contests."""
    with _server() as url:
        async with AsyncExitStack() as clients:
            get = f"{url}/{SIZE}"
            ours = await clients.enter_async_context(http.Client(per_host=AT_A_TIME))
            aiohttp = optional("aiohttp")
            session: Any = aiohttp and await clients.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_A_TIME))
            )
            calls: dict[str, Get] = {OURS: partial(_ours, ours, get)}
            if session:
                calls["aiohttp"] = partial(_aiohttp, session, get)
            calls |= await _others(clients, get)
            count = scale.pick(full=10_000, quick=10_000, tiny=100)
            rounds = scale.pick(full=7, quick=3, tiny=1)
            measures = (Measure("get", "us"), Measure("get-cpu", "us", figure=1))
            yield Contest(rounds, _turns(calls, count), {BODY}, measures)
            stacks = {OURS: _our_stack(ours, get)}
            if session and (stack := _their_stack(session, get)):
                stacks[STACK] = stack
            yield Contest(rounds, _turns(stacks, count), {BODY}, (Measure("get-stack", "us"),))
            yield _stream(scale, ours, session, url)


@contextmanager
def _server() -> Iterator[str]:
    """Its address, as long as the block lasts."""
    native = PLACE / "local_server"
    if not native.exists():
        print("the local server is Python's: python benches/peers/build.py builds the native one", flush=True)
    argv = [native] if native.exists() else [sys.executable, Path(__file__).parents[1] / "local_server.py"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


async def _others(clients: AsyncExitStack, url: str) -> dict[str, Get]:
    """The other clients that are installed, each with 64 connections."""
    calls: dict[str, Get] = {}
    if httpx := optional("httpx"):
        limits = httpx.Limits(max_connections=AT_A_TIME, max_keepalive_connections=AT_A_TIME)
        client: Any = await clients.enter_async_context(httpx.AsyncClient(limits=limits, trust_env=False))

        async def with_httpx() -> bytes:
            return (await client.get(url)).raise_for_status().content  # type: ignore[no-any-return]

        calls["httpx"] = with_httpx
    if niquests := optional("niquests"):
        session: Any = await clients.enter_async_context(niquests.AsyncSession(pool_maxsize=AT_A_TIME))
        session.trust_env = False

        async def with_niquests() -> bytes:
            return (await session.get(url)).raise_for_status().content  # type: ignore[no-any-return]

        calls["niquests"] = with_niquests
    if pyreqwest := optional("pyreqwest.client"):
        builder = pyreqwest.ClientBuilder().no_proxy().pool_max_idle_per_host(AT_A_TIME).error_for_status(True)
        native: Any = await clients.enter_async_context(builder.build())

        async def with_pyreqwest() -> bytes:
            response = await native.get(url).build().send()
            return bytes(await response.bytes())

        calls["pyreqwest"] = with_pyreqwest
    return calls


async def _ours(client: http.Client, url: str) -> bytes:
    return (await client.get(url)).content


async def _aiohttp(session: Any, url: str) -> bytes:
    async with session.get(url, raise_for_status=True) as response:
        return await response.read()  # type: ignore[no-any-return]


def _our_stack(client: http.Client, url: str) -> Get:
    policies = (
        Timeout(5),
        Retry(on=http.transient, attempts=3),
        ConcurrencyLimit(AT_A_TIME, max_waiting=None),
        RateLimit(MANY, per=1),
        CircuitBreaker(name="bench"),
    )
    effect = client.get(url).under(*policies)

    async def get() -> bytes:
        return (await effect).content

    return get


def _their_stack(session: Any, url: str) -> Get | None:
    tenacity, aiolimiter, purgatory = optional("tenacity"), optional("aiolimiter"), optional("purgatory")
    if not (tenacity and aiolimiter and purgatory):
        return None
    semaphore, rate = asyncio.Semaphore(AT_A_TIME), aiolimiter.AsyncLimiter(MANY, 1)
    breakers = purgatory.AsyncCircuitBreakerFactory()

    @tenacity.retry(  # type: ignore[untyped-decorator]
        retry=tenacity.retry_if_exception_type(OSError), stop=tenacity.stop_after_attempt(3), reraise=True
    )
    async def attempt() -> bytes:
        async with semaphore, rate, await breakers.get_breaker("bench"):
            return await _aiohttp(session, url)

    async def get() -> bytes:
        async with asyncio.timeout(5):
            return await attempt()  # type: ignore[no-any-return]

    return get


def _turns(calls: Mapping[str, Get], count: int) -> dict[str, Round]:
    return {name: partial(_pooled, call, max(count // SLOW.get(name, 1), AT_A_TIME)) for name, call in calls.items()}


async def _pooled(get: Get, count: int) -> Sample:
    """Microseconds for a request, and of this process's own computing, on all its threads."""
    bodies: set[bytes] = set()
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            bodies.add(await get())

    computed = process_time()
    seconds, _ = await side_by_side(worker, AT_A_TIME)
    return Sample((seconds * 1e6 / count, (process_time() - computed) * 1e6 / count), bodies)


# -- one long answer ------------------------------------------------------------------------------------------------


def _stream(scale: Scale, ours: http.Client, session: Any, url: str) -> Contest:
    size = scale.pick(full=1 << 30, quick=1 << 30, tiny=1 << 20)

    async def pieces() -> AsyncIterator[bytes]:
        async with ours.open("GET", f"{url}/{size}") as body:
            async for piece in body:
                yield piece

    async def theirs() -> AsyncIterator[bytes]:
        async with session.get(f"{url}/{size}", raise_for_status=True) as response:
            async for piece in response.content.iter_any():
                yield piece

    turns: dict[str, Round] = {OURS: partial(_read, pieces)}
    if session:
        turns["aiohttp"] = partial(_read, theirs)
    memory = Extra("stream", "aiohttp, memory growth", "MB", _grown(OURS), _grown("aiohttp"), ("aiohttp",), 0.01)
    return Contest(scale.pick(full=5, quick=3, tiny=1), turns, size, (Measure("stream", "ms"),), (memory,))


def _grown(name: str) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name], 1)


async def _read(pieces: Callable[[], AsyncIterator[bytes]]) -> Sample:
    """Milliseconds, and the megabytes by which the process was larger at most; the answer is the number of bytes."""
    size, before, most = 0, resident(), 0
    start = perf_counter()
    async for number, piece in _numbered(pieces()):
        size += len(piece)
        if number % OFTEN == 0:
            most = max(most, resident())
    return Sample(((perf_counter() - start) * 1e3, max(0, most - before) / 1e6), size)


async def _numbered(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for piece in pieces:
        yield number, piece
        number += 1
