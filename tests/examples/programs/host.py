"""An editor's host: commands over JSON-RPC; files, searches, a terminal and a language server behind them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from mountain_runtime import (
    RateLimit,
    Retry,
    Runtime,
    Timeout,
    effect,
    fs,
    need,
    process,
    rpc,
    run,
    search,
    sidecar,
    stream,
)

router = rpc.Router(RateLimit(1000, per=1, key=rpc.caller), Timeout(30), name="host")


@router.command("file/read")
@effect(Timeout(1), Retry(on=OSError))
async def read(path: str) -> str:
    return await fs.read_text(path)


@router.streaming("search/lines")
@stream
async def find(pattern: str, root: str) -> AsyncIterator[search.Match]:
    async with search.lines(pattern, root) as matches:
        async for match in matches:
            yield match


@router.streaming("file/watch")
@stream
async def watch(root: str) -> AsyncIterator[tuple[fs.Change, ...]]:
    async with fs.watch(root, ignore_files=True) as changes:
        async for some in changes:
            yield some


class LanguageServer:
    def __init__(self, peer: rpc.Peer) -> None:
        self.peer = peer


@asynccontextmanager
async def open_language() -> AsyncGenerator[LanguageServer]:
    async with sidecar("pylsp")() as p, rpc.connect(p) as peer:
        yield LanguageServer(peer)


@router.command("language/hover")
@effect(Timeout(5))
async def hover(path: str, line: int, *, language: LanguageServer = need(LanguageServer)) -> str:
    return str(await language.peer.call("textDocument/hover", {"path": path, "line": line}))


@router.command("terminal/run")
@effect(Timeout(60))
async def terminal(command: str) -> str:
    async with process.terminal("sh", "-c", command) as t:
        await t.wait()
        return t.screen()


async def main(rt: Runtime) -> None:
    await router.serve("stdio:")


if __name__ == "__main__":
    run(main, runtime=Runtime().provide(LanguageServer, open_language))
