"""A pipeline: walk, read, parse on all cores, ask a limited API in batches, write in batches; none runs ahead."""

import sqlite3
from dataclasses import dataclass

from mountain_runtime import On, RateLimit, Retry, Timeout, amap, batch, blocking, chunked, effect, fs, http, pools
from mountain_runtime.errors import WorkerLost

cpu = pools.Processes(name="cpu")
api = http.Client("http://127.0.0.1:8001")


@dataclass
class Doc:
    path: str
    words: int


@blocking(Timeout(30), Retry(on=WorkerLost), On(cpu))
def parse(path: str, text: str) -> Doc:
    return Doc(path, len(text.split()))


@batch(50, RateLimit(10, per=1), Retry(on=http.transient), wait=0.01)
async def owner(paths: list[str]) -> list[str]:
    return list((await api.post("/owners", json=paths)).json())


@effect
async def index(entry: fs.Entry) -> tuple[Doc, str]:
    return await parse(entry.path, await fs.read_text(entry.path, errors="replace")), await owner(entry.path)


async def main(root: str, db: sqlite3.Connection) -> None:
    async with amap(index, fs.walk(root), limit=64) as done, chunked(done, 100, within=1) as rows:
        async for some in rows:
            db.executemany("insert into docs values (?, ?, ?)", [(doc.path, doc.words, who) for _, (doc, who) in some])
