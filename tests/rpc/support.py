"""A router of small commands, and a caller of bytes that sees what comes back, without a client of ours."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from mountain_runtime import Timeout, effect, rpc, stream


class Caller:
    """Speaks bytes to a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: str) -> None:
        self.reader, self.writer, self.framing = reader, writer, framing

    def send(self, message: Any, times: int = 1) -> None:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        framed = b"Content-Length: %d\r\n\r\n" % len(body) + body if self.framing == "lsp" else body + b"\n"
        self.writer.write(framed * times)

    def request(self, number: Any, name: str, params: Any = None, **more: Any) -> None:
        said = {"jsonrpc": "2.0", "id": number, "method": name} | ({} if params is None else {"params": params}) | more
        self.send(said)

    def notify(self, name: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "method": name} | ({} if params is None else {"params": params}))

    async def receive(self) -> Any:
        """The next message; None at the end."""
        async with asyncio.timeout(30):
            if self.framing == "lines":
                line = await self.reader.readline()
                return json.loads(line) if line else None
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return None
            return json.loads(await self.reader.readexactly(int(head.split(b":")[1])))

    async def ask(self, message: Any) -> Any:
        self.send(message)
        return await self.receive()

    def close(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def served(router: rpc.Router, address: str, **settings: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """Serves it while the block lasts."""
    task = asyncio.create_task(router.serve(address, **settings))
    for _ in range(500):
        await asyncio.sleep(0)
        if task.done():
            task.result()
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def calling(path: Any, framing: str = "lsp") -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 27)
    caller = Caller(reader, writer, framing)
    try:
        yield caller
    finally:
        caller.close()


class Log:
    """The doings of the commands of `small`."""

    def __init__(self) -> None:
        self.said: list[str] = []
        #: By `forever`.
        self.sent = 0
        self.release = asyncio.Event()


def small(log: Log, *policies: Any, **settings: Any) -> rpc.Router:
    """Commands that add, wait, fail, note and stream."""
    router = rpc.Router(*policies, **settings)

    @router.command("add")
    @effect
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @router.command("echo")
    @effect
    async def echo(value: Any) -> Any:
        return value

    @router.command("wait")
    @effect
    async def wait(name: str) -> str:
        log.said.append(f"{name} begins")
        try:
            await log.release.wait()
        finally:
            await asyncio.sleep(0)
            log.said.append(f"{name} ends")
        return name

    @router.command("fail")
    @effect
    async def fail(message: str = "no such thing") -> None:
        raise LookupError(message)

    @router.command("slow")
    @effect(Timeout(0.01))
    async def slow() -> None:
        await asyncio.Event().wait()

    @router.command("note")
    @effect
    async def note(text: str, turns: int = 0) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        log.said.append(text)

    @router.command("who")
    @effect
    async def who() -> str | None:
        found = rpc.caller()
        return None if found is None else found.id

    @router.streaming("count")
    @stream
    async def count(to: int, fails: bool = False) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
            if fails:
                raise LookupError("no more")
        finally:
            log.said.append("count ends")

    @router.streaming("forever")
    @stream
    async def forever(size: int = 1) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * size
                log.sent += 1
        finally:
            log.said.append("forever ends")

    return router
