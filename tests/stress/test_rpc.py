"""Callers that come and go, peers that are killed and restarted, as often as it takes to see what leaks or errs."""

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import uvloop

from mountain_runtime import constant, process, rpc, sidecar
from mountain_runtime.process import _sidecar
from tests.rpc.support import Log, calling, served, small
from tests.rpc.test_serve import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800)]
HOST = (sys.executable, "-m", "tests.rpc.hosts", "serve")
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@LOOPS
def test_10_000_callers_that_come_and_go_leave_nothing(loop: Any, tmp_path: Path) -> None:
    """Each asks, cancels, streams or floods, and closes in order or vanishes."""
    path, chance, seen = tmp_path / "s", random.Random(3), Counter[str]()

    async def one(number: int) -> None:
        async with calling(path) as caller:
            caller.request(1, "echo", [number])
            way = chance.choice(["asks", "vanishes", "cancels", "streams", "floods", "breaks off", "ends its input"])
            seen[way] += 1
            if way == "asks":
                assert (await caller.receive())["result"] == number
                return
            if way == "cancels":
                caller.request("w", "wait", ["w"])
                caller.notify("$/cancelRequest", {"id": "w"})
                answers = {each["id"]: each for each in [await caller.receive(), await caller.receive()]}
                assert answers[1]["result"] == number
                assert answers["w"]["error"]["code"] == -32800
                return
            if way == "streams":
                caller.request(2, "forever", [50])
                await caller.receive()
            elif way == "floods":
                caller.send({"jsonrpc": "2.0", "method": "note", "params": ["x", 1]}, times=50)
                caller.request("w", "wait", ["w"])
            elif way == "breaks off":
                caller.writer.write(b"Content-Length: 100\r\n\r\n{")
            elif way == "ends its input":
                caller.writer.write_eof()
                assert (await caller.receive())["result"] == number
                assert await caller.receive() is None
                return
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            caller.writer.transport.abort()

    async def many(count: int) -> tuple[int, int, int]:
        numbers = iter(range(count))

        async def some() -> None:
            for number in numbers:
                await one(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(some())
        await until(lambda: len(asyncio.all_tasks()) == 2)  # this one, and that of `serve`
        log.said.clear()
        gc.collect()
        return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), resident()

    log = Log()

    async def main() -> None:
        async with served(small(log), f"unix:{path}"):
            before = await many(1500)
            after = await many(10_000)
        print(f"{dict(seen)}\ntasks, descriptors, memory: {before} before, {after} after")
        assert after[:2] == before[:2]
        assert after[2] - before[2] < 8 << 20

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    assert min(seen.values()) > 1000


MAY_HAVE_RUN, NOT_SENT = "may have run", "was not sent"


class Load:
    """Many callers of one peer, each call with a number of its own; what came of them."""

    def __init__(self, peer: rpc.Peer) -> None:
        self.peer = peer
        self.ends: Counter[str] = Counter()
        self.sent = self.wrong = 0
        self.stops = False

    async def go_on(self) -> None:
        while not self.stops:
            self.sent += 1
            number = self.sent
            name, value = ("add", number + 2) if number % 3 else ("echo", [number])
            try:
                answer = await self.peer.call(name, [number if name == "add" else value])
            except (ConnectionResetError, BrokenPipeError) as error:
                sent = isinstance(error, ConnectionResetError)
                self.ends[next(said for said in (MAY_HAVE_RUN, NOT_SENT) if said in str(error))] += 1
                self.wrong += (MAY_HAVE_RUN if sent else NOT_SENT) not in str(error)
                await asyncio.sleep(0 if sent else 0.005)
            else:
                assert answer == value, "an answer to another call"
                self.ends["answered"] += 1


@LOOPS
def test_a_peer_that_is_killed_100_times_under_load(loop: Any) -> None:
    """Each call in flight fails at once, and says that it may have run. None has the answer of another."""
    total: Counter[str] = Counter()

    async def once(chance: random.Random) -> None:
        async with process.open(*HOST) as p, rpc.connect(p) as peer:
            assert await peer.call("add", [1]) == 3
            hanging = [asyncio.ensure_future(peer.call("wait", ["w"])) for _ in range(20)]
            load = Load(peer)
            async with asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(load.go_on())
                await asyncio.sleep(chance.uniform(0.0, 0.05))  # real: anywhere in the load
                os.kill(p.pid, signal.SIGKILL)
                async with asyncio.timeout(20):
                    for each in hanging:
                        with pytest.raises(ConnectionResetError, match="may have run"):
                            await each
                    while load.ends["was not sent"] < 40:
                        await asyncio.sleep(0.001)
                load.stops = True
            assert load.wrong == 0
            total.update(load.ends)

    async def main() -> None:
        await once(random.Random(100))  # opens what stays open
        before = len(os.listdir("/proc/self/fd"))
        for seed in range(100):
            await once(random.Random(seed))
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    print(dict(total))
    assert total["answered"] > 1000
    assert total["may have run"] > 1000


@LOOPS
def test_a_sidecar_that_restarts_50_times_under_load(loop: Any) -> None:
    """The next calls go to the next run, and no answer of one run reaches a call to another."""
    total: Counter[str] = Counter()

    async def main() -> None:
        chance = random.Random(5)
        async with sidecar(*HOST, restart=constant(0.01))() as p, rpc.connect(p) as peer:
            load = Load(peer)
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(load.go_on())
                for _ in range(50):
                    before = load.ends["answered"]
                    async with asyncio.timeout(60):
                        while load.ends["answered"] <= before + 100:
                            await asyncio.sleep(0.001)
                    await asyncio.sleep(chance.uniform(0.0, 0.02))  # real: anywhere in the load
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(p.pid, signal.SIGKILL)
                async with asyncio.timeout(60):
                    before = load.ends["answered"]
                    while load.ends["answered"] <= before + 100:
                        await asyncio.sleep(0.001)
                load.stops = True
            assert load.wrong == 0
            total.update(load.ends)

    # More than a few restarts in a minute would end it.
    with mock.patch.object(_sidecar, "_MOST", 1000), asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())
    print(dict(total))
    assert total["answered"] > 5000
    assert total["may have run"] > 50
