"""An editor host: typed services and a sidecar."""

import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from mountain_runtime import Retry, Runtime, Timeout, blocking, effect, need, process, run, sidecar


class Store(Protocol):
    def put(self, k: str, v: str) -> None: ...
    def get(self, k: str) -> str | None: ...


class SqliteStore:
    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def put(self, k: str, v: str) -> None:
        self.db.execute("insert or replace into kv values (?, ?)", (k, v))

    def get(self, k: str) -> str | None:
        row = self.db.execute("select v from kv where k = ?", (k,)).fetchone()
        return None if row is None else str(row[0])


class LanguageServer:
    def __init__(self, p: process.Process) -> None:
        self.p = p

    @effect(Timeout(5), Retry(on=BrokenPipeError, attempts=2))
    async def hover(self, path: str, line: int, *, store: Store = need(Store)) -> str:
        await self.p.send(json.dumps({"path": path, "line": line}).encode())
        text = (await self.p.receive()).decode()
        store.put(f"{path}:{line}", text)
        return text


@asynccontextmanager
async def open_store() -> AsyncGenerator[Store]:
    db = sqlite3.connect("host.db", check_same_thread=False)
    db.execute("create table if not exists kv (k primary key, v)")
    yield SqliteStore(db)
    db.commit()
    db.close()


@asynccontextmanager
async def open_language(
    store: Store = need(Store),
) -> AsyncGenerator[LanguageServer]:  # the dependency edge is in the signature
    async with sidecar("pylsp", "--stdio", ready=lambda line: "ready" in line)() as p:
        yield LanguageServer(p)


@blocking(Timeout(2))
def format_code(text: str) -> str:
    return text.strip() + "\n"


async def main(rt: Runtime) -> None:
    lsp = rt.get(LanguageServer)
    while not rt.stopping():
        print(await lsp.hover("a.py", 3), await format_code("x = 1  "))


run(main, runtime=Runtime().provide(Store, open_store).provide(LanguageServer, open_language, stop_timeout=3))
