"""Worker processes among the other parts: a pipeline, virtual time, loops and threads."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from mountain_runtime import Timeout, amap, chunked, effect, fs
from mountain_runtime.errors import ShuttingDown, WorkerLost
from mountain_runtime.testing import VirtualClock

from . import work

pytestmark = pytest.mark.processes


@effect
async def indexed(entry: fs.Entry) -> work.Doc:
    return await work.parse(entry.path, await fs.read_text(entry.path))


async def entries(root: Path) -> AsyncIterator[fs.Entry]:
    async for entry in fs.walk(str(root)):
        if entry.is_file:
            yield entry


async def test_a_pipeline_computes_on_workers(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.txt").write_text("word " * number)
    rows: dict[str, int] = {}
    async with amap(indexed, entries(tmp_path), limit=8) as done, chunked(done, 20, within=1) as lists:
        async for some in lists:
            rows |= {Path(doc.path).name: doc.words for _, doc in some}
    assert rows == {f"{number}.txt": number for number in range(50)}


async def test_virtual_time_waits_for_a_worker(virtual_clock: VirtualClock) -> None:
    before = virtual_clock.time()
    assert await work.sleeps(0.2).under(Timeout(0.1)) != os.getpid()
    assert virtual_clock.time() == before


def test_loops_of_several_threads_share_a_pool() -> None:
    found: list[list[int]] = []

    async def many(of: int) -> None:
        found.append(await asyncio.gather(*[work.add(of, number) for number in range(200)]))

    def runs(of: int) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if of else asyncio.new_event_loop) as runner:
            runner.run(many(of))

    threads = [threading.Thread(target=runs, args=(of,)) for of in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [list(range(200)), list(range(1000, 1200))]


def test_a_loop_that_closes_with_calls_under_way_harms_no_other() -> None:
    async def leaves() -> None:
        call = asyncio.ensure_future(work.waits(30))
        await asyncio.sleep(0.05)  # real: so that it is at work
        assert not call.done()

    asyncio.run(leaves())

    async def goes_on() -> int:
        return await work.add(1)

    assert asyncio.run(goes_on()) == 2


def test_a_forked_child_has_workers_of_its_own() -> None:
    async def pid() -> int:
        return (await work.counted())[0]

    mine = asyncio.run(pid())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(asyncio.run(pid())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        theirs = file.read()
    os.waitpid(child, 0)
    assert theirs.isdigit()
    assert int(theirs) != mine
    assert asyncio.run(pid()) == mine


async def test_calls_that_come_while_a_pool_closes_are_answered() -> None:
    """Each begins on a pool that closes: it has a result, or was refused."""
    ended: list[object] = []
    for turn in range(0, 12, 3):
        calls = [asyncio.ensure_future(work.pid_of_ordered()) for _ in range(3)]
        await asyncio.sleep(0.02 * (turn % 4))  # real: a close meets each stage of a worker's start
        closing = asyncio.ensure_future(work.ordered._close(5))
        for _ in range(turn):
            await asyncio.sleep(0)
        calls += [asyncio.ensure_future(work.pid_of_ordered()) for _ in range(3)]
        ended += await asyncio.gather(*calls, return_exceptions=True)
        await closing
    await work.ordered._close(5)
    assert len(ended) == 24
    allowed = (int, ShuttingDown, WorkerLost)
    assert [end for end in ended if not isinstance(end, allowed)] == []
