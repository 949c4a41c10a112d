"""Workers on Ray that are killed a hundred times, nodes that are killed or drained, a head that is gone for minutes."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import Retry
from mountain_runtime.errors import NoWorkers, WorkerLost
from tests.pools.ray import killing
from tests.pools.ray.head import Head, Node
from tests.pools.ray.programs import KILLS_IT, OWN_HEAD, run


@pytest.fixture(scope="module", autouse=True)
def _found(head: Head) -> Iterator[None]:
    """The head that these tests connect to, and its token where Ray looks for it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in head.environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.timeout(900)
async def test_killed_workers_lose_what_they_had_and_no_more(tmp_path: Path) -> None:
    ends = await killing.kills(tmp_path / "marks", 100, seed=2)
    assert ends["value"] > ends["lost"] > 0


@pytest.mark.timeout(300)
def test_a_program_outlives_its_head_for_longer_than_ray_waits(tmp_path: Path) -> None:
    said = run(tmp_path, KILLS_IT, seconds=200, before=OWN_HEAD, LIVES="110")
    assert (said.code, said.out[-1]) == (0, "end"), said.err
    assert said.quiet, said.err


def second(head: Head, name: str = "any") -> Node:
    """A node with a resource that the head has not, and one by which it is found."""
    folder = Path(tempfile.mkdtemp(prefix="mr-ray-", dir="/tmp"))  # short: there are sockets within
    return Node(
        folder, f"--address={head.address}", "--node-ip-address=127.0.0.1", "--num-cpus=2",
        f'--resources={{"second": 2, "{name}": 1}}', "--object-store-memory=100000000", token=head.token,
    )  # fmt: skip


async def both_there() -> None:
    """Both workers elsewhere have started: the next two calls run side by side."""
    from tests.pools.ray import attacked

    while len({*await asyncio.gather(attacked.sleeps_elsewhere(0.3), attacked.sleeps_elsewhere(0.3))}) < 2:
        pass


@pytest.mark.timeout(150)
async def test_a_node_that_goes_away_is_its_workers_end(head: Head) -> None:
    from tests.pools.ray import attacked

    async def ends(call: Any) -> str:
        try:
            return str(await call)
        except (WorkerLost, NoWorkers) as error:
            return type(error).__name__

    node = await asyncio.to_thread(second, head)
    try:
        await both_there()
        calls = [asyncio.ensure_future(ends(attacked.sleeps_elsewhere(100))) for _ in range(2)]
        await asyncio.sleep(0.5)  # real: they are at work
    finally:
        node.close()
    began = time.monotonic()
    assert await asyncio.gather(*calls) == ["WorkerLost", "WorkerLost"]
    assert time.monotonic() - began < 40
    assert await ends(attacked.sleeps_elsewhere(0)) == "NoWorkers"
    node = await asyncio.to_thread(second, head)
    try:
        assert await attacked.sleeps_elsewhere(0) > 0
        await attacked.elsewhere._close(10)
    finally:
        node.close()


def drain(head: Head, seconds: int) -> None:
    """Tells the cluster that the node of that name is to be taken away so much later, as clouds do."""
    import ray
    from ray.core.generated import autoscaler_pb2

    [node] = [each["NodeID"] for each in ray.nodes() if each["Alive"] and "drained" in each["Resources"]]
    why = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    until = int((time.time() + seconds) * 1000)
    assert vars(ray._raylet)["GcsClient"](address=head.address).drain_node(node, why, "preempted", until) == (True, "")


def node_of(pid: int) -> int:
    """The group of processes of the node that a worker is on."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return os.getpgid(parent)


@pytest.mark.timeout(200)
async def test_a_drained_node_loses_what_does_not_end_in_time_and_new_workers_are_elsewhere(head: Head) -> None:
    from tests.pools.ray import attacked

    drained = await asyncio.to_thread(second, head, "drained")
    nodes = [drained]
    try:
        await both_there()
        short, long = (asyncio.ensure_future(attacked.sleeps_elsewhere(seconds)) for seconds in (2, 100))
        await asyncio.sleep(0.5)  # real: they are at work
        await asyncio.to_thread(drain, head, 10)
        other = await asyncio.to_thread(second, head)
        nodes.append(other)
        pid = await short
        assert node_of(pid) == drained.process.pid
        os.kill(pid, signal.SIGKILL)
        assert await killing.gone(pid)
        pid = await attacked.sleeps_elsewhere(0).under(Retry(on=WorkerLost))
        assert node_of(pid) == other.process.pid
        assert not long.done()
        drained.close()
        began = time.monotonic()
        with pytest.raises(WorkerLost) as caught:
            await long
        assert caught.value.may_have_run
        assert time.monotonic() - began < 40
        assert await attacked.sleeps_elsewhere(0) == pid
        assert await attacked.elsewhere._close(10) == []
    finally:
        for node in nodes:
            node.close()


def test_a_program_that_ends_the_connection_loses_its_workers_and_goes_on(tmp_path: Path) -> None:
    said = run(tmp_path, """
        @blocking(On(pool))
        def sleeps(seconds):
            time.sleep(seconds)

        async def main():
            import ray

            connects, asked = ray.init, []

            def init(*arguments, **named):
                asked.append(arguments)
                return connects(*arguments, **named)

            ray.init = init
            print(await add(1))
            calls = [asyncio.ensure_future(sleeps(60)) for _ in range(2)]
            await asyncio.sleep(0.5)  # real: the first is at work
            ray.shutdown()
            for call in calls:
                try:
                    await call
                except (WorkerLost, NoWorkers) as error:
                    print(type(error).__name__)
            print(await add(2))
            ray.shutdown()
            try:
                await add(3)
            except NoWorkers:
                print("at once", "NoWorkers")
            for _ in range(200):
                try:
                    print(await add(4))
                    break
                except NoWorkers:
                    await asyncio.sleep(0.05)  # real: the pool finds that it is not connected
            await pool._close(10)
            print(asked == 3 * [(address,)], "of its own accord Ray connects to nothing")

        if __name__ == "__main__":
            asyncio.run(main())
    """)  # fmt: skip
    last = "True of its own accord Ray connects to nothing"
    assert (said.code, said.out) == (0, ["2", "WorkerLost", "NoWorkers", "3", "at once NoWorkers", "5", last]), said.err
    assert said.quiet, said.err
