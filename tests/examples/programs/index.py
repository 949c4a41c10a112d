"""A pipeline: walk, read, count, ask a limited API for owners in batches, write in batches; each waits for the next."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import httpx

from mountain_runtime import RateLimit, Retry, Timeout, amap, batch, blocking, chunked, effect, fs

api = httpx.AsyncClient(base_url="https://owners.example")


@dataclass
class Doc:
    path: str
    words: int


@blocking(Timeout(30))
def parse(path: str, text: str) -> Doc:
    return Doc(path, len(text.split()))


@batch(50, Retry(on=httpx.TransportError), RateLimit(10, per=1), wait=0.01)
async def owner(paths: list[str]) -> list[str]:
    return list((await api.post("/owners", json=paths)).raise_for_status().json())


async def files(root: str) -> AsyncIterator[fs.Entry]:
    async for entry in fs.walk(root):
        if entry.is_file:
            yield entry


@effect
async def index(entry: fs.Entry) -> tuple[Doc, str]:
    return await parse(entry.path, await fs.read_text(entry.path, errors="replace")), await owner(entry.path)


async def main(root: str, db: sqlite3.Connection) -> None:
    db.execute("create table docs (path, words, owner)")
    async with amap(index, files(root), limit=64) as done, chunked(done, 100, within=1) as rows:
        async for some in rows:
            db.executemany("insert into docs values (?, ?, ?)", [(doc.path, doc.words, who) for _, (doc, who) in some])
            db.commit()


if __name__ == "__main__":
    with closing(sqlite3.connect(sys.argv[2])) as db:
        asyncio.run(main(sys.argv[1], db))
