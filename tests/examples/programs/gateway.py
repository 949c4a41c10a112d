"""An LLM gateway: hedged, streamed, a ladder of upstreams, priorities in a rate limit."""

import json
from collections.abc import AsyncIterator
from math import nan

import httpx

from mountain_runtime import (
    CircuitBreaker,
    ConcurrencyLimit,
    Fallback,
    Hedge,
    Idle,
    Priority,
    RateLimit,
    Retry,
    Timeout,
    effect,
    priority,
    stream,
)


def transient(e: Exception) -> bool | float:
    match e:
        case httpx.HTTPStatusError(response=r) if r.status_code in (429, 503):
            return float(r.headers.get("retry-after", nan))
        case httpx.HTTPStatusError():
            return False
        case _:
            return isinstance(e, httpx.TransportError)


big = httpx.AsyncClient(base_url="https://big.example")
small = httpx.AsyncClient(base_url="https://small.example")
per_tenant = RateLimit(60, per=60, key=lambda tenant, prompt: tenant, name="tenants")


@effect(Timeout(30), CircuitBreaker(name="small"), Retry(on=transient))
async def ask_small(tenant: str, prompt: str) -> str:
    r = await small.post("/v1", json={"tenant": tenant, "q": prompt})
    return str(r.raise_for_status().json()["text"])


@effect(
    Timeout(60),
    Fallback(ask_small, on=Exception),
    CircuitBreaker(name="big"),
    Retry(on=transient, attempts=3),
    per_tenant,
    Hedge(percentile=0.95),
)
async def ask(tenant: str, prompt: str) -> str:
    r = await big.post("/v1", json={"tenant": tenant, "q": prompt})
    return str(r.raise_for_status().json()["text"])


@stream(Timeout(300), Retry(on=transient), ConcurrencyLimit(8), per_tenant, Idle(10))
async def tokens(tenant: str, prompt: str) -> AsyncIterator[str]:
    async with big.stream("POST", "/v1/stream", json={"tenant": tenant, "q": prompt}) as r:
        r.raise_for_status()
        async for line in r.aiter_lines():
            yield str(json.loads(line)["token"])


async def chat(tenant: str, prompt: str) -> None:
    with priority(Priority.HIGH):
        async with tokens(tenant, prompt) as out:
            async for token in out:
                print(token, end="", flush=True)
