"""Clusters that do not take a pool: each says so in time, with what to do, and the program lives on."""

import asyncio
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import pools
from mountain_runtime.errors import ConfigError, NoWorkers, Rejected

from .head import Head, free_port
from .programs import run

pytestmark = pytest.mark.ray


def connected() -> bool:
    """Whether this process is connected to a cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


async def refused(pool: pools.Ray, seconds: float) -> str:
    """The words of a block's start, within so many seconds, which leaves the cluster; the next one says the same."""
    said = []
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(NoWorkers) as caught:
            await pool.__aenter__()
        assert isinstance(caught.value, Rejected)
        assert time.monotonic() - began < seconds
        assert not connected()
        assert not [each for each in threading.enumerate() if each.name == f"mountain-pool-{pool.name}"]
        said.append(str(caught.value))
    assert said[0] == said[1]
    return said[0]


def test_an_address_of_rays_client_is_no_address() -> None:
    with pytest.raises(ConfigError, match="must be the address of a head"):
        pools.Ray("ray://127.0.0.1:10001")


async def test_an_address_that_is_none_is_said() -> None:
    assert "is not an address of Ray's" in await refused(pools.Ray("nonsense"), 10)


async def test_no_head_is_refused_at_once() -> None:
    assert "no head of Ray answers" in await refused(pools.Ray(f"127.0.0.1:{free_port()}", connect_timeout=60), 10)


async def test_a_port_that_is_not_rays_is_refused_within_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no head of Ray answers" in await refused(pools.Ray(f"127.0.0.1:{port}", connect_timeout=0.3), 10)


async def test_a_cluster_without_room_is_refused_within_the_limit(head: Head) -> None:
    pool = pools.Ray(head.address, resources={"nowhere": 1}, connect_timeout=30, start_timeout=0.5)
    assert "no node has room" in await refused(pool, 30)


async def test_resources_that_ray_refuses_are_said(head: Head) -> None:
    pool = pools.Ray(head.address, resources={"CPU": 1e-6}, connect_timeout=30, start_timeout=20)
    assert "0.0001" in await refused(pool, 30)


async def test_without_ray_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch, head: Head) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert r"pip install 'mountain-runtime[ray]'" in await refused(pools.Ray(head.address), 10)


async def test_an_attempt_that_takes_longer_than_its_limit_is_undone(
    monkeypatch: pytest.MonkeyPatch, head: Head
) -> None:
    import ray

    gate = threading.Event()
    connects = ray.init

    def init(*arguments: Any, **named: Any) -> Any:
        gate.wait(60)
        return connects(*arguments, **named)

    monkeypatch.setattr(ray, "init", init)
    pool = pools.Ray(head.address, resources={"nowhere": 1}, connect_timeout=1.5, start_timeout=0.1)
    with pytest.raises(NoWorkers, match="does not take this process within"):
        await pool.__aenter__()
    with pytest.raises(NoWorkers, match="an earlier attempt"):
        await pool.__aenter__()
    gate.set()
    monkeypatch.undo()
    for _ in range(20):
        with pytest.raises(NoWorkers) as caught:
            await pool.__aenter__()
        if "no node has room" in str(caught.value):  # it has connected
            break
        await asyncio.sleep(0.2)  # real: the first attempt ends
    else:
        raise AssertionError(caught.value)
    assert pool.statistics().workers == 0
    assert not connected()


def test_a_wrong_token_is_said(tmp_path: Path) -> None:
    said = run(tmp_path, """
        async def main():
            try:
                await add(1)
            except NoWorkers as error:
                print("token" in str(error))
            await pool._close(5)
            print("end")

        if __name__ == "__main__":
            asyncio.run(main())
    """, RAY_AUTH_TOKEN="ab" * 16)  # fmt: skip
    assert (said.code, said.out) == (0, ["True", "end"]), said.err
    assert said.quiet, said.err
