"""Parameters that no command can take: refused before it runs, with the way out, and never left without an answer."""

from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import effect, rpc
from mountain_runtime.errors import PeerError
from tests.rpc.support import served


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
