"""Fetches all pages that can be reached from one, politely to each host; prints how many there are."""

import asyncio
import re
import sys
from urllib.parse import urljoin, urlsplit

import httpx

from mountain_runtime import ConcurrencyLimit, Priority, RateLimit, Retry, Timeout, Work, amap, effect, priority
from mountain_runtime.errors import MountainError

client = httpx.AsyncClient(follow_redirects=True)


def host(url: str) -> str:
    return urlsplit(url).netloc


@effect(
    Retry(on=httpx.TransportError),
    ConcurrencyLimit(2, key=host, max_waiting=None),
    RateLimit(1, per=1, key=host),
    ConcurrencyLimit(200, max_waiting=None),
    Timeout(10),
)
async def fetch(url: str) -> str:
    return (await client.get(url)).text


async def crawl(start: str, limit: int) -> int:
    work = Work([(start, 0)], key=lambda page: page[0])

    async def visit(page: tuple[str, int]) -> None:
        url, depth = page
        with priority(Priority.HIGH if depth < 2 else Priority.LOW):
            try:
                body = await fetch(url)
            except (httpx.HTTPError, MountainError) as e:
                print(url, e, file=sys.stderr)
                return
        for link in re.findall(r'href="([^"#]+)', body):
            if len(work) < limit:
                work.add((urljoin(url, link), depth + 1))

    async with amap(visit, work, limit=1000) as pages:
        return len([page async for page in pages])


print(asyncio.run(crawl(sys.argv[1], 10_000)))
