"""Addresses that callers connect to: sockets, ports, tokens, and how many callers there may be."""

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import rpc
from mountain_runtime.errors import ConfigError, MountainError
from tests.rpc.support import Caller, Log, calling, served, small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_a_socket_is_the_users_own_and_a_stale_one_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with served(small(Log()), f"unix:{path}"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with pytest.raises(OSError, match="served already"):
            await small(Log()).serve(f"unix:{path}")
        async with calling(path) as caller:
            caller.request(1, "add", [1])
            assert (await caller.receive())["result"] == 3
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(OSError, match="no socket"):
        await small(Log()).serve(f"unix:{path}")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "address",
    ["", "stdio", "unix:", "tcp:7", "tcp:127.0.0.1:", "tcp:127.0.0.1:70000", "tcp:@127.0.0.1:1", "http://x", 7,
     "tcp:0.0.0.0:7000", "tcp:example.org:7000", "unix:" + "x" * 200],
)  # fmt: skip
async def test_addresses_that_cannot_be_served(address: Any) -> None:
    with pytest.raises(ConfigError):
        await small(Log()).serve(address)
    assert issubclass(ConfigError, MountainError)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_token_is_asked_for(path: Path) -> None:
    port = free_port()

    async def caller() -> Caller:
        return Caller(*await asyncio.open_connection("127.0.0.1", port), "lsp")

    async with served(small(Log()), f"tcp:secret@127.0.0.1:{port}"):
        for first in (
            ("add", [1]),
            ("rpc.authenticate", {"token": "guess"}),
            ("rpc.authenticate", {"token": 7}),
            ("rpc.authenticate", []),
        ):
            one = await caller()
            one.request(1, *first)
            one.request(2, "add", [1])
            answer = await one.receive()
            assert (answer["id"], answer["error"]["code"]) == (1, -32600)
            assert "secret" not in str(answer)
            assert await one.receive() is None
            one.close()
        one = await caller()
        one.request(1, "rpc.authenticate", {"token": "secret"})
        one.request(2, "add", [1])
        assert [(await one.receive())["result"], (await one.receive())["result"]] == [True, 3]
        one.close()
        async with rpc.connect(f"tcp:secret@127.0.0.1:{port}") as peer:
            assert await peer.call("add", [1]) == 3


async def test_more_callers_than_allowed_are_told_so(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}", max_callers=1), calling(path) as one:
        one.request(1, "add", [1])
        await one.receive()
        async with calling(path) as two:
            assert (await two.receive())["error"]["code"] == -32011
            assert await two.receive() is None
        one.close()
        await one.writer.wait_closed()
        answer: Any = None
        async with asyncio.timeout(10):  # real: until the host has heard of it
            while answer is None or "error" in answer:
                with contextlib.suppress(ConnectionError):  # it is refused, and what it has sent is not read
                    async with calling(path) as three:
                        three.request(1, "add", [1])
                        answer = await three.receive()
        assert answer["result"] == 3


async def test_the_description_is_asked_for(path: Path) -> None:
    router = small(Log(), name="shop")
    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.request(1, "rpc.discover")
        assert (await caller.receive())["result"] == router.openrpc()
