"""Programs of others at the other end: a client, a language server, an MCP server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pygls.client import JsonRPCClient
from pygls.exceptions import JsonRpcException

from mountain_runtime import Timeout, process, rpc
from mountain_runtime.errors import PeerError, TimedOut

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "examples" / "programs" / "host.py"


def environment() -> dict[str, str]:
    """The tests' own Python's programs are found first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@asynccontextmanager
async def client(*argv: str) -> AsyncIterator[Any]:
    """A client of pygls, which knows nothing of ours."""
    found = JsonRPCClient()
    await found.start_io(*argv, env=environment())
    try:
        yield found
    finally:
        found._server.terminate()  # it waits for the host to end by itself
        await found.stop()
        assert found._server.returncode == 0


async def ask(client: Any, name: str, params: Any) -> Any:
    return await asyncio.wait_for(client.protocol.send_request_async(name, params), 30)


# Of pygls, on 3.14.
@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction':DeprecationWarning")
async def test_the_program_of_a_host_is_driven_by_a_client_of_another(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nos.getcwd()\n")
    async with client(sys.executable, str(PROGRAM)) as editor:
        progress: list[Any] = []

        @editor.feature("$/progress")  # type: ignore[untyped-decorator]
        def told(params: Any) -> None:
            progress.append(params)

        assert await ask(editor, "file/read", {"path": str(tmp_path / "a.py")}) == "import os\nos.getcwd()\n"
        assert await ask(editor, "search/lines", {"pattern": "getcwd", "root": str(tmp_path)}) == 1
        assert progress[0].value[0].line == 2
        watching = asyncio.ensure_future(ask(editor, "file/watch", {"root": str(tmp_path)}))
        for number in range(300):
            if len(progress) > 1:
                break
            (tmp_path / "b.py").write_text(f"{number}")
            await asyncio.sleep(0.1)  # a watch begins in its own time, and settles
        assert progress[1].value[0][0].path == str(tmp_path / "b.py")
        screen = await ask(editor, "terminal/run", {"command": "tput cols; echo done"})
        assert screen == "80\ndone"
        for name, params, code, kind in [
            ("file/read", {"path": str(tmp_path / "none")}, -32010, "FileNotFoundError"),
            ("file/read", {"path": 7}, -32602, None),
            # Asked before `initialize`: the language server's own error.
            ("language/hover", {"path": "x", "line": 1}, -32010, "PeerError"),
            ("no/such", {}, -32601, None),
        ]:
            with pytest.raises(JsonRpcException) as found:
                await ask(editor, name, params)
            assert found.value.code == code
            assert (found.value.data or {}).get("type") == kind
        watching.cancel()


async def test_a_language_server_is_initialised_asked_cancelled_and_shut_down(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("import os\nos.getcwd()\n")
    place = {"textDocument": {"uri": source.as_uri()}}
    async with process.open("pylsp", env=environment()) as p, rpc.connect(p) as peer:
        found = await peer.call("initialize", {"processId": None, "rootUri": tmp_path.as_uri(), "capabilities": {}})
        assert found["capabilities"]["hoverProvider"] is True
        await peer.notify("initialized", {})
        document = {"uri": source.as_uri(), "languageId": "python", "version": 1, "text": source.read_text()}
        await peer.notify("textDocument/didOpen", {"textDocument": document})
        hover = peer.call("textDocument/hover", place | {"position": {"line": 1, "character": 5}})
        with pytest.raises(TimedOut):
            await hover.under(Timeout(0))
        asking = asyncio.ensure_future(hover)
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert "getcwd" in str(await hover)
        with pytest.raises(PeerError) as error:
            await peer.call("no/such")
        assert error.value.code == -32601
        assert await peer.call("shutdown") is None
        await peer.notify("exit")
        assert await asyncio.wait_for(p.wait(), 30) == 0


MCP = """
from mcp.server import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> int:
    "Adds."
    return a + b
server.run("stdio")
"""


async def test_an_mcp_server_lists_its_tools_and_answers_a_call() -> None:
    async with process.open(sys.executable, "-c", MCP) as p, rpc.connect(p, framing="lines") as peer:
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        assert (await peer.call("initialize", hello))["serverInfo"]["name"] == "sums"
        await peer.notify("notifications/initialized")
        assert [each["name"] for each in (await peer.call("tools/list"))["tools"]] == ["add"]
        answer = await peer.call("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert answer["content"][0]["text"] == "3"
        with pytest.raises(PeerError):
            await peer.call("no/such")
