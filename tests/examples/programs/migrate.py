"""One function before, with what three libraries and asyncio have, and after."""

import asyncio

import httpx
from aiolimiter import AsyncLimiter
from async_lru import alru_cache
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from mountain_runtime import Cache, ConcurrencyLimit, RateLimit, Retry, Timeout, effect

client = httpx.AsyncClient()

# -- before
limiter = AsyncLimiter(10, 1)
slots = asyncio.Semaphore(5)


@alru_cache(maxsize=512, ttl=60)
@retry(
    retry=retry_if_exception_type(httpx.TransportError),
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(0.2, max=5),
    reraise=True,
)
async def _user(uid: int) -> dict[str, str]:
    async with limiter, slots, asyncio.timeout(2):
        return dict((await client.get(f"https://api.example/users/{uid}")).json())


async def user_before(uid: int) -> dict[str, str]:
    async with asyncio.timeout(10):
        return await _user(uid)


# -- after: one list, the outermost first
@effect(
    Timeout(10),
    Cache(ttl=60, max_size=512),
    Retry(on=httpx.TransportError, attempts=4),
    ConcurrencyLimit(5),
    RateLimit(10, per=1),  # inside the slots: otherwise a token waits for a slot, and starts bunch up over the limit
    Timeout(2),
)
async def user(uid: int) -> dict[str, str]:
    return dict((await client.get(f"https://api.example/users/{uid}")).json())


async def ad_hoc() -> httpx.Response:
    return await Retry(on=httpx.TransportError).call(client.get, "https://api.example", timeout=3)
