"""The promises of every provider: a new one adds a row to the table."""

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mountain_runtime import Runtime, Shutdown, Timeout, effect, errors, fs, process, search, sidecar, testing
from mountain_runtime.http import Client
from tests.providers.http.server import Connection, Request, answering, serving
from tests.providers.support import gauge, names, threads, within
from tests.telemetry.tracing import traces

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


async def enter(block: object) -> None:
    async with block:  # type: ignore[attr-defined]
        pass


async def beside(*argv: str, ready: bool = True) -> None:
    async with sidecar(*argv, ready=None if ready else lambda _: False)():
        await asyncio.sleep(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(40):
        (tmp_path / "tree" / str(number)).mkdir(parents=True)
        (tmp_path / "tree" / str(number) / "file").write_text("needle\n" * 100)
    (tmp_path / "large").write_bytes(b"x" * 1_000_000)
    (tmp_path / "new").touch()
    (tmp_path / "lock").touch()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def children() -> set[str]:
    """The programs that this process has started, zombies among them."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update((task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # the thread ended meanwhile
    return found


def held(folder: Path) -> dict[str, object]:
    """All that a call may leave behind."""
    return {
        "descriptors": len(os.listdir("/dev/fd")),
        "walks": threads("mountain-walk"),
        "searches": threads("mountain-search"),
        "watches": threads("mountain-watch"),
        "abandoned": gauge("abandoned_threads"),
        "children": children(),
        "files": names(folder),
    }


async def is_back(folder: Path, before: dict[str, object]) -> None:
    """Waits until nothing is left over: threads look up, and helpers' descriptors go, a moment later."""
    for _ in range(400):
        now = held(folder)
        if now["descriptors"] <= before["descriptors"] and now | {"descriptors": 0} == before | {"descriptors": 0}:  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    assert held(folder) == before


async def warm(row: Row, folder: Path) -> dict[str, object]:
    """The handles of a process whose pool, loop and helpers are there."""
    await row.work(folder)
    for _ in range(200):
        before = held(folder)
        await asyncio.sleep(0.005)
        busy = before["walks"] or before["searches"] or before["watches"]  # their threads end a moment later
        if held(folder) == before and not busy:
            return before
    return held(folder)


async def cancelled(call: Awaitable[object], wait: Callable[[], Awaitable[object]]) -> bool:
    """Whether the cancel came before the end."""
    task = asyncio.ensure_future(call)
    await wait()
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()


@pytest.mark.serial
@pytest.mark.parametrize("name", ROWS)
async def test_a_cancel_at_any_moment_leaks_nothing(folder: Path, name: str) -> None:
    row = ROWS[name]
    before = await warm(row, folder)
    dice = random.Random(name)

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    with within(30):
        for count in (*range(6), 8, 12, 20, 40):
            await cancelled(row.work(folder), lambda count=count: turns(count))
            await cancelled(row.stuck(folder), lambda count=count: turns(count))
        for _ in range(10):
            await cancelled(row.work(folder), lambda: asyncio.sleep(dice.uniform(0, 0.005)))  # moments of real work
            assert await cancelled(row.stuck(folder), lambda: asyncio.sleep(dice.uniform(0, 0.02)))
    await is_back(folder, before)
    await row.work(folder)


@pytest.mark.serial
@pytest.mark.parametrize("name", ROWS)
async def test_a_deadline_is_kept_and_leaks_nothing(folder: Path, name: str) -> None:
    row = ROWS[name]
    before = await warm(row, folder)

    @effect(Timeout(0.05))
    async def limited() -> None:
        await row.stuck(folder)

    with within(2), pytest.raises(errors.TimedOut):
        await limited()
    await is_back(folder, before)


@pytest.mark.serial
@pytest.mark.parametrize("name", ROWS)
async def test_errors_are_the_builtin_ones(folder: Path, name: str) -> None:
    row = ROWS[name]
    before = await warm(row, folder)
    with pytest.raises(row.error):
        await row.fails(folder)
    await is_back(folder, before)


@pytest.mark.parametrize("name", ROWS)
async def test_its_work_ends_before_what_the_runtime_defers(folder: Path, name: str) -> None:
    order: list[str] = []

    @effect
    async def work() -> None:
        try:
            await ROWS[name].stuck(folder)
        finally:
            order.append("work")

    async with Runtime(shutdown=Shutdown(drain=0.02)) as rt:
        rt.defer(lambda: order.append("deferred"))
        _handle = rt.submit(work())  # it is the shutdown that cancels it
        await asyncio.sleep(0.02)  # real: so that it is under way when the shutdown begins
    assert order == ["work", "deferred"]


@pytest.mark.parametrize("name", ROWS)
async def test_its_calls_are_counted_and_traced(folder: Path, name: str) -> None:
    row = ROWS[name]
    async with Runtime() as rt:
        await row.work(folder)
        before = rt.statistics().effects[row.counted].started
        with traces() as spans:
            await row.work(folder)
            assert row.counted in spans.names()
        assert rt.statistics().effects[row.counted].started > before


async def test_the_fakes_take_the_place_of_network_and_watches() -> None:
    change = fs.Change("/no/such/file", "made")
    with testing.watch("/no/such") as tree:
        tree.tell(change)
        async with fs.watch("/no/such") as batches:
            assert await anext(batches) == (change,)
    with testing.http(lambda request: testing.Reply(body=request.url.encode())) as requests:
        async with Client("http://no.test") as client:
            assert (await client.get("/a")).content == b"http://no.test/a"
            async with client.open("GET", "/b") as body:
                assert [piece async for piece in body] == [b"http://no.test/b"]
            with testing.files({"tree/file": "needle\n"}) as folder:
                assert await client.download("/c", folder / "c") == 16
                assert await fs.read_bytes(folder / "c") == b"http://no.test/c"
                assert await found(folder) == 1
    assert [request.url[-2:] for request in requests] == ["/a", "/b", "/c"]


def test_the_programs_of_the_rows_are_there() -> None:
    assert all(map(shutil.which, ("true", "sleep")))
