"""The promises of every provider: a new one adds a row to the table."""

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mountain_runtime import Runtime, Shutdown, Timeout, effect, errors, fs, process, search, testing
from mountain_runtime.http import Client
from tests.providers.rows import ROWS, Row, found
from tests.providers.support import gauge, names, threads, within
from tests.telemetry.tracing import traces


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
        "played": [task for task in asyncio.all_tasks() if task.get_name().startswith("program ")],
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
    await fs.stat(folder)  # the loop's own, which a fake may not need
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


async def test_the_fakes_take_the_place_of_network_watches_programs_and_searches() -> None:
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
    with testing.process(lambda command: process.Completed(stdout=command.argv[0].encode())):
        assert (await process.run("/no/such")).stdout == b"/no/such"
        async with process.open("/no/such") as p:
            assert await p.receive() == b"/no/such"
    with testing.search(lambda asked: [search.Match(asked.root, 1, 0, asked.pattern)]):
        async with search.lines("x", "/no/such") as matches:
            assert [match async for match in matches] == [search.Match("/no/such", 1, 0, "x")]
    assert [request.url[-2:] for request in requests] == ["/a", "/b", "/c"]


def test_the_programs_of_the_rows_are_there() -> None:
    assert all(map(shutil.which, ("true", "sleep")))
