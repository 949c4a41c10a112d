"""Parameters that no command can take: refused before it runs, with the way out, and never left without an answer."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mountain_runtime import effect, rpc
from mountain_runtime.errors import ConfigError, PeerError
from tests.rpc.support import Log, served, small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def counting(ran: list[int]) -> rpc.Router:
    router = rpc.Router()

    @router.command("kw")
    @effect
    async def kw(a: int, *, c: int) -> int:
        ran.append(a)
        return a + c

    @router.command("optional")
    @effect
    async def optional(a: int, *, c: int = 1) -> int:
        return a + c

    return router


async def test_a_parameter_by_name_only_is_missing_in_a_list(path: Path) -> None:
    ran: list[int] = []
    router = counting(ran)
    async with served(router, f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        for each in (peer, router):
            with pytest.raises(PeerError, match="missing parameter `c`: it goes by name") as found:
                await each.call("kw", [1])
            assert found.value.code == -32602
            assert await each.call("optional", [1]) == 2
            assert ran == []
            assert await each.call("kw", {"a": 1, "c": 2}) == 3
            ran.clear()


@pytest.mark.parametrize("params", ["abc", "", b"x", 5, 0, None, object(), {1}])
async def test_what_is_no_list_and_no_mapping_is_not_sent(path: Path, params: Any) -> None:
    router = counting([])
    async with served(router, f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        for each in (peer, router):
            with pytest.raises(TypeError, match=r"'kw' was not called: .* Give a list of them, or a dict"):
                await each.call("kw", params)
        with pytest.raises(TypeError, match="was not called"):
            async with peer.stream("kw", params):
                pass
        with pytest.raises(TypeError, match="was not called"):
            await peer.notify("kw", params)
        assert await peer.call("optional", (1,)) == 2


class Shop:
    @effect
    async def order(self, count: int) -> int:
        return count


async def test_a_method_is_a_command_of_its_object() -> None:
    router = rpc.Router()
    with pytest.raises(
        ConfigError, match=r"is a method without its object: .*router\.command\('order'\)\(shop\.order\)"
    ):
        router.command("order")(Shop.order)
    router.command("order")(Shop().order)
    assert await router.call("order", [2]) == 2


class Box(msgspec.Struct, tag="box"):
    size: int


class Bag(msgspec.Struct, tag="bag"):
    size: int


async def test_classes_of_a_union_are_told_apart_by_their_tags() -> None:
    router = rpc.Router()

    @router.command("pack")
    @effect
    async def pack(into: Box | Bag) -> str:
        return type(into).__name__

    assert await router.call("pack", [{"type": "bag", "size": 1}]) == "Bag"


async def test_the_path_of_a_socket_stands_in_its_error(path: Path) -> None:
    router = rpc.Router()
    with pytest.raises(FileNotFoundError) as found:
        await router.serve(f"unix:{path}/no/folder")
    assert found.value.filename == f"{path}/no/folder"
    with pytest.raises(FileNotFoundError, match=str(path)):
        async with rpc.connect(f"unix:{path}"):
            pass


async def test_a_wrong_token_is_told_from_none(unused_tcp_port: int) -> None:
    router = counting([])
    async with served(router, f"tcp:right@127.0.0.1:{unused_tcp_port}"):
        with pytest.raises(PeerError, match="the token is another than this host's; nothing has run"):
            async with rpc.connect(f"tcp:wrong@127.0.0.1:{unused_tcp_port}"):
                pass
        async with rpc.connect(f"tcp:127.0.0.1:{unused_tcp_port}") as peer:
            with pytest.raises(PeerError, match=r"call rpc\.authenticate first, .* Connect to tcp:TOKEN@"):
                await peer.call("optional", [1])


@pytest.mark.parametrize("name", [None, 5, b"kw"])
async def test_a_name_is_a_text(path: Path, name: Any) -> None:
    router = counting([])
    async with served(router, f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        for each in (peer, router):
            with pytest.raises(TypeError, match="was not called: the name of a command is a str"):
                await each.call(name)


async def test_a_command_that_is_no_stream_says_so(path: Path) -> None:
    async with served(counting([]), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        with pytest.raises(PeerError, match=r"'optional' has run, and is no stream: write peer\.call"):
            async with peer.stream("optional", [1]) as items:
                async for _ in items:
                    pass


async def test_a_call_whose_block_is_left_says_so(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}"):
        async with rpc.connect(f"unix:{path}") as peer:
            waiting = asyncio.ensure_future(peer.call("wait", ["w"]))
            await peer.call("add", [1])
        with pytest.raises(ConnectionResetError, match="was left, by the end of its block; 'wait' may have run"):
            await waiting
        with pytest.raises(BrokenPipeError, match=r"was left, .* 'add' was not sent"):
            await peer.call("add", [1])
