"""The rows of the suite over all providers: each with the same kinds of calls, also of those that a test answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mountain_runtime import fs, process, search, sidecar, testing
from mountain_runtime.http import Client
from tests.providers.http.server import Connection, Request, answering, serving

Call = Callable[[Path], Awaitable[object]]


async def all_of(items: object) -> int:
    return len([each async for each in items])  # type: ignore[attr-defined]


async def slowly(items: object) -> None:
    """A consumer who takes one item, and no more."""
    async for _ in items:  # type: ignore[attr-defined]
        await asyncio.get_running_loop().create_future()


async def found(folder: Path) -> int:
    async with search.lines("needle", folder / "tree") as matches:
        return await all_of(matches)


async def found_slowly(folder: Path) -> None:
    async with search.lines("needle", folder / "tree") as matches:
        await slowly(matches)


async def in_pieces(folder: Path) -> None:
    async with fs.open(folder / "new", "w", durable=False) as file:
        for _ in range(5):
            await file.write(b"x" * 100_000)


async def copied(folder: Path) -> None:
    await fs.copy(folder / "large", folder / "new", durable=False)


async def vanishing(folder: Path) -> None:
    async with fs.temporary(folder=folder) as made:
        await fs.write_bytes(f"{made}/x", b"x", durable=False)


async def locked_twice(folder: Path) -> None:
    async with fs.lock(folder / "lock"), fs.lock(folder / "lock"):
        pass


async def watched(root: Path) -> None:
    async with fs.watch(root, settle=0.01, existing=True) as batches:
        await anext(batches)


async def watched_on(folder: Path) -> None:
    async with fs.watch(folder / "tree", settle=0.01) as batches:
        await all_of(batches)


async def talked(*argv: str) -> None:
    async with process.open(*argv) as program:
        await program.wait()


async def shown(*argv: str) -> None:
    async with process.terminal(*argv) as terminal:
        await terminal.wait()


def large_or_silent(connection: Connection, request: Request) -> None:
    if request.path == "/silent":
        while connection.read():
            pass
    else:
        connection.answer(200, b"x" * 500_000)


@asynccontextmanager
async def served() -> AsyncIterator[Client]:
    """A client of a local server. At the end, both count the connections: none is in use, then none is open."""
    with serving(answering(large_or_silent)) as server:
        async with Client(server.url) as client:
            try:
                yield client
            finally:
                await soon(lambda: len(set(client._client.connections())) == 1)  # as many idle as open
        await soon(lambda: client._client.connections() == (0, 0))
        await soon(lambda: all(sock.fileno() == -1 for sock in server._open))


async def soon(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.005)  # real: connections close on their own threads
    assert holds()


async def got(path: str) -> None:
    async with served() as client:
        await client.get(path)


async def opened(path: str) -> None:
    async with served() as client, client.open("GET", path) as body:
        await all_of(body)


async def opened_slowly() -> None:
    async with served() as client, client.open("GET", "/large") as body:
        await slowly(body)


async def downloaded(path: str, folder: Path) -> None:
    async with served() as client:
        await client.download(path, folder / "new")


#: A port that has no server.
CLOSED = "http://127.0.0.1:1/"


async def stay(call: Call, folder: Path) -> None:
    await call(folder)
    await asyncio.get_running_loop().create_future()


@dataclass(frozen=True)
class Row:
    """One provider, or one kind of its operations."""

    #: Takes some turns of the loop, and ends.
    work: Call
    #: Never ends by itself.
    stuck: Call
    fails: Call
    error: type[Exception]
    #: The name of an effect of `work` in statistics and spans.
    counted: str


ROWS = {
    "read": Row(
        lambda folder: fs.read_bytes(folder / "large"),
        lambda folder: fs.read_bytes(folder / "pipe"),
        lambda folder: fs.read_bytes(folder / "missing"),
        FileNotFoundError,
        "fs.read_bytes",
    ),
    "write": Row(
        lambda folder: fs.write_bytes(folder / "new", b"x" * 500_000, durable=False),
        lambda folder: fs.write_bytes(folder / "pipe", b"x"),
        lambda folder: fs.write_bytes(folder / "tree", b"x"),
        IsADirectoryError,
        "fs.write_bytes",
    ),
    "open": Row(in_pieces, lambda folder: stay(in_pieces, folder), lambda folder: enter(fs.open(folder / "no/x")),
                FileNotFoundError, "fs.File.write"),
    "copy": Row(
        lambda folder: fs.copy(folder / "large", folder / "new", durable=False),
        lambda folder: stay(copied, folder),
        lambda folder: fs.copy(folder / "missing", folder / "new"),
        FileNotFoundError,
        "fs.copy",
    ),
    "temporary": Row(vanishing, lambda folder: stay(vanishing, folder),
                     lambda folder: enter(fs.temporary(folder=folder / "no")), FileNotFoundError, "fs.temporary"),
    "lock": Row(lambda folder: enter(fs.lock(folder / "lock")), locked_twice,
                lambda folder: enter(fs.lock(folder / "no/lock")), FileNotFoundError, "fs.lock"),
    "rooted": Row(
        lambda folder: fs.rooted(folder).read_bytes("large"),
        lambda folder: fs.rooted(folder).read_bytes("pipe"),
        lambda folder: fs.rooted(folder / "tree").read_bytes("../large"),
        PermissionError,
        "fs.read_bytes",
    ),
    "walk": Row(lambda folder: all_of(fs.walk(folder / "tree")), lambda folder: slowly(fs.walk(folder / "tree")),
                lambda folder: all_of(fs.walk(folder / "no")), FileNotFoundError, "fs.walk"),
    "search": Row(found, found_slowly, lambda folder: found(folder / "no"), FileNotFoundError, "search.lines"),
    "process": Row(
        lambda folder: process.run("true"),
        lambda folder: process.run("sleep", "60"),
        lambda folder: process.run("/no/such/program"),
        FileNotFoundError,
        "process.run",
    ),
    "program": Row(lambda _: talked("true"), lambda _: talked("sleep", "60"), lambda _: talked("/no/such/program"),
                   FileNotFoundError, "process.open"),
    "terminal": Row(lambda _: shown("true"), lambda _: shown("sleep", "60"), lambda _: shown("/no/such/program"),
                    FileNotFoundError, "process.terminal"),
    "sidecar": Row(lambda _: beside("sleep", "60"), lambda _: beside("sleep", "60", ready=False),
                   lambda _: beside("/no/such/program"), FileNotFoundError, "process.open"),
    "watch": Row(lambda folder: watched(folder / "tree"), watched_on, lambda folder: watched(folder / "no"),
                 FileNotFoundError, "fs.watch"),
    "get": Row(lambda _: got("/large"), lambda _: got("/silent"), lambda _: got(CLOSED),
               ConnectionRefusedError, "http.get"),
    "body": Row(lambda _: opened("/large"), lambda _: opened_slowly(), lambda _: opened(CLOSED),
                ConnectionRefusedError, "http.open"),
    "download": Row(
        lambda folder: downloaded("/large", folder),
        lambda folder: downloaded("/silent", folder),
        lambda folder: downloaded(CLOSED, folder),
        ConnectionRefusedError,
        "http.download",
    ),
}  # fmt: skip


async def play(command: testing.Command) -> process.Completed:
    """The programs of the rows, as a test plays them."""
    if command.argv[0].startswith("/no/"):
        raise FileNotFoundError(2, "No such file or directory", command.argv[0])
    await asyncio.sleep(float(command.argv[1]) if command.argv[0] == "sleep" else 0)
    return process.Completed()


async def find(asked: testing.Search) -> AsyncIterator[search.Match]:
    """The matches of the rows' tree, each after a turn of the loop."""
    if "/no/" in asked.root:
        raise FileNotFoundError(2, "No such file or directory", asked.root)
    for line in range(40):
        await asyncio.sleep(0)
        yield search.Match("file", line + 1, 0, "needle")


def faked(row: Row, fake: Callable[[], AbstractContextManager[object]]) -> Row:
    """The same calls, which a test answers."""

    def within_fake(call: Call) -> Call:
        async def answered(folder: Path) -> None:
            with fake():
                await call(folder)

        return answered

    return Row(within_fake(row.work), within_fake(row.stuck), within_fake(row.fails), row.error, row.counted)


ROWS |= {
    f"{name}, faked": faked(ROWS[name], lambda: testing.process(play))
    for name in ("process", "program", "terminal", "sidecar")
}
ROWS["search, faked"] = faked(ROWS["search"], lambda: testing.search(find))


async def enter(block: object) -> None:
    async with block:  # type: ignore[attr-defined]
        pass


async def beside(*argv: str, ready: bool = True) -> None:
    async with sidecar(*argv, ready=None if ready else lambda _: False)():
        await asyncio.sleep(0)
