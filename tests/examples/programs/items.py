"""A shop's items over HTTP: FastAPI with a runtime in its lifespan."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException

from mountain_runtime import Cache, CircuitBreaker, Fallback, Retry, Runtime, Timeout, blocking, effect
from mountain_runtime.errors import CircuitOpen, Rejected

http = httpx.AsyncClient()
breaker = CircuitBreaker(name="prices", on=httpx.HTTPError)
cache = Cache(ttl=30, stale=300)


@effect(cache, Timeout(3), Retry(on=httpx.TransportError), breaker, Timeout(1))
async def price(sku: str) -> float:
    r = await http.get(f"https://prices.example/{sku}")
    r.raise_for_status()
    return float(r.text)


@effect(Fallback(lambda e: [], on=Rejected), Timeout(0.5))
async def similar(sku: str) -> list[str]:
    return list((await http.get(f"https://similar.example/{sku}")).json())


@blocking
def render_pdf(sku: str, amount: float) -> bytes:
    return f"{sku}: {amount}".encode()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with Runtime() as rt:
        app.state.rt = rt
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/items/{sku}")
async def item(
    sku: str, also: Annotated[list[str], Depends(similar)]
) -> dict[str, object]:  # needs __wrapped__, else an Effect arrives here
    try:
        return {"sku": sku, "price": await price(sku), "similar": also}
    except CircuitOpen as e:
        raise HTTPException(503, str(e)) from e


@app.get("/items/{sku}/pdf")
async def pdf(sku: str) -> bytes:
    return await render_pdf(sku, await price(sku))


@app.post("/items/{sku}/changed")
async def changed(sku: str) -> None:
    cache.invalidate(sku)


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"prices": breaker.state()}
