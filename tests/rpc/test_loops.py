"""serve and connect on every kind of loop, and beside what ends work in other ways: scopes, generators, exits."""

import asyncio
import contextlib
import gc
import os
import sys
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mountain_runtime import Timeout, effect, rpc
from mountain_runtime.errors import PeerError, TimedOut
from tests.conftest import EVERY, Complaints, LoopFactory
from tests.rpc.support import Log, served, small
from tests.rpc.test_serve import until


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def loops(request: pytest.FixtureRequest, complaints: Complaints) -> LoopFactory:
    """Makes loops of every kind, whose complaints are kept."""

    def make() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = request.param()
        loop.set_exception_handler(complaints.handler)
        return loop

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))


async def all_of_it(path: Path) -> None:
    """Calls, cancels, limits, streams, and what goes the other way."""
    log = Log()
    async with served(small(log), f"unix:{path}"), rpc.connect(f"unix:{path}", router=small(log)) as peer:
        assert await asyncio.gather(*(peer.call("add", [a]) for a in range(300))) == [a + 2 for a in range(300)]
        with pytest.raises(TimedOut):
            await peer.call("wait", ["a"]).under(Timeout(0.05))
        waiting = asyncio.ensure_future(peer.call("wait", ["b"]))
        await until(lambda: "b begins" in log.said)
        waiting.cancel()
        await asyncio.wait([waiting])
        await until(lambda: {"a ends", "b ends"} <= set(log.said))
        for number in range(300):
            await peer.notify("note", [str(number)])
        await until(lambda: log.said[-1] == "299")
        assert log.said[-300:] == [str(number) for number in range(300)]
        async with peer.stream("count", [3000]) as items:
            assert [each async for each in items] == list(range(3000))
        async with peer.stream("forever") as items:
            assert await anext(items) == "x"
        with pytest.raises(PeerError, match="no such thing"):
            await peer.call("fail")


def test_all_of_it_on_every_loop(loops: LoopFactory, path: Path, complaints: Complaints) -> None:
    """Three loops in a row, each closed and collected."""
    before = None
    for _ in range(3):
        with asyncio.Runner(loop_factory=loops) as runner:
            runner.run(all_of_it(path))
        gc.collect()
        before = before or descriptors()
        assert descriptors() == before
        assert not path.exists()
    assert complaints == []


def hanging(said: list[str]) -> rpc.Router:
    router = rpc.Router()

    @router.command("hang")
    @effect
    async def hang() -> None:
        said.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            said.append("ends")

    return router


def test_programs_that_end_with_calls_in_flight(loops: LoopFactory, path: Path, complaints: Complaints) -> None:
    """`asyncio.run` cancels what is left: both ends are closed, their cleanup awaited."""

    async def main(said: list[str]) -> None:
        serving = asyncio.create_task(hanging(said).serve(f"unix:{path}"))
        await until(path.exists)

        async def ask() -> None:
            async with rpc.connect(f"unix:{path}") as peer:
                await peer.call("hang")

        asking = [asyncio.create_task(ask()) for _ in range(5)]
        await until(lambda: len(said) == 5)
        assert not serving.done()
        assert not any(each.done() for each in asking)

    before: int | None = None
    for _ in range(10):
        said: list[str] = []
        with asyncio.Runner(loop_factory=loops) as runner:
            runner.run(main(said))
        if before is None:  # after the first, which opens what the process keeps
            gc.collect()
            before = descriptors()
        assert said == ["begins"] * 5 + ["ends"] * 5
    gc.collect()
    assert descriptors() == before
    assert not path.exists()
    assert complaints == []


def test_a_loop_that_is_closed_under_them(loops: LoopFactory, path: Path, complaints: Complaints) -> None:
    """Its tasks can do nothing more. When they are collected, descriptors and the socket's path go."""
    said: list[str] = []

    async def begin() -> list[Any]:
        tasks: list[Any] = [asyncio.create_task(hanging(said).serve(f"unix:{path}"))]
        await until(path.exists)
        block = rpc.connect(f"unix:{path}")
        peer = await block.__aenter__()
        tasks.append(asyncio.ensure_future(peer.call("hang")))
        await until(lambda: said)
        return [*tasks, block, peer]

    before = descriptors()
    loop = loops()
    kept = loop.run_until_complete(begin())
    loop.close()
    del kept, loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of a block that is never left
        for _ in range(3):
            gc.collect()
    assert descriptors() == before
    assert not path.exists()
    # asyncio names the tasks of a program that closes its loop too early; there is no other complaint.
    assert [each for each in complaints if "was destroyed but it is pending" not in each] == []


def test_an_exit_within_the_block_of_a_peer(loops: LoopFactory, path: Path, complaints: Complaints) -> None:
    log = Log()

    async def main() -> None:
        async with served(small(log), f"unix:{path}"):
            async with rpc.connect(f"unix:{path}") as peer:
                waiting = asyncio.ensure_future(peer.call("wait", ["w"]))
                await until(lambda: log.said)
                with contextlib.suppress(ConnectionError):
                    waiting.add_done_callback(lambda task: task.exception())
                sys.exit(3)

    with asyncio.Runner(loop_factory=loops) as runner, pytest.raises(SystemExit) as found:
        runner.run(main())
    assert found.value.code == 3
    assert log.said == ["w begins", "w ends"]
    assert complaints == []


async def test_scopes_of_anyio_end_calls_and_streams(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        with anyio.move_on_after(0.1) as scope:
            await peer.call("wait", ["a"])
        assert scope.cancelled_caught
        await until(lambda: log.said == ["a begins", "a ends"])
        with anyio.move_on_after(0.1) as scope:
            async with peer.stream("forever") as items:
                async for _ in items:
                    pass
        assert scope.cancelled_caught
        await until(lambda: log.said[-1] == "forever ends")
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.1):
                await peer.call("wait", ["b"])
        assert await peer.call("add", [1]) == 3


async def test_a_scope_of_anyio_ends_serve_with_its_cleanup(path: Path) -> None:
    """A scope cancels again in each turn: that is one cancel, and to wait for cleanup costs no CPU."""
    log = Log()
    router = small(log)

    @router.command("slow cleanup")
    @effect
    async def slow() -> None:
        log.said.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.3)  # real: in which the scope asks again
            log.said.append("ends")

    async with anyio.create_task_group() as group:
        group.start_soon(router.serve, f"unix:{path}")
        await until(path.exists)
        async with rpc.connect(f"unix:{path}") as peer:
            waiting = asyncio.ensure_future(peer.call("slow cleanup"))
            await until(lambda: log.said)
            used = time.process_time()
            group.cancel_scope.cancel()
            with contextlib.suppress(asyncio.CancelledError), anyio.CancelScope(shield=True):
                await asyncio.wait([waiting])
    assert log.said == ["begins", "ends"]
    assert time.process_time() - used < 0.25
    assert waiting.exception() is not None


async def test_a_block_within_a_cancelled_scope_is_left_in_order(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"):
        with anyio.CancelScope() as scope:
            async with rpc.connect(f"unix:{path}", router=small(Log())) as peer:
                waiting = asyncio.ensure_future(peer.call("wait", ["w"]))
                await until(lambda: log.said)
                scope.cancel()
                await anyio.sleep(60)
        assert scope.cancelled_caught
        with pytest.raises(ConnectionResetError):
            await waiting
        await until(lambda: log.said == ["w begins", "w ends"])
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with rpc.connect(f"unix:{path}"):
                raise AssertionError("the block was entered")
        assert scope.cancelled_caught


async def test_a_generator_that_holds_a_peer_is_closed_and_collected(path: Path, loop_complaints: Complaints) -> None:
    log = Log()

    async def counted() -> AsyncIterator[Any]:
        async with rpc.connect(f"unix:{path}") as peer, peer.stream("forever") as items:
            async for item in items:
                yield item

    async with served(small(log), f"unix:{path}"):
        found = counted()
        assert await anext(found) == "x"
        await found.aclose()  # type: ignore[attr-defined]
        await until(lambda: log.said == ["forever ends"])
        found = counted()
        assert await anext(found) == "x"
        del found  # the loop closes it
        gc.collect()
        await until(lambda: log.said == ["forever ends"] * 2)
    assert loop_complaints == []
