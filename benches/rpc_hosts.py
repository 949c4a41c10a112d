"""Hosts of three commands, `echo`, `numbers` and `text`: ours, those of other libraries, and what is no host at all.

The first argument names the host. It answers on stdin and stdout, or at the socket that the second argument names.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

#: An answer that is large is made of this.
LINE = "0123456789abcdef"


def ours(address: str = "stdio:") -> None:
    """A router of this package."""
    from mountain_runtime import Runtime, effect, rpc, run, stream

    router = rpc.Router()

    @router.command("echo")
    @effect
    async def echo(value: str) -> str:
        return value

    @router.streaming("numbers")
    @stream
    async def numbers(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number

    @router.command("text")
    @effect
    async def text(size: int) -> str:
        return LINE * (size // len(LINE))

    async def main(_: Runtime) -> None:
        await router.serve(address, max_callers=10_000)

    run(main)


def pygls() -> None:
    """A server of pygls, whose `numbers` go one by one, as its progress does."""
    from pygls.protocol import JsonRPCProtocol, default_converter
    from pygls.server import JsonRPCServer

    server = JsonRPCServer(JsonRPCProtocol, default_converter)

    @server.feature("echo")
    def echo(_server: object, params: object) -> object:
        return params.value  # type: ignore[attr-defined]

    @server.feature("numbers")
    def numbers(_server: object, params: object) -> object:
        for number in range(params.upto):  # type: ignore[attr-defined]
            server.protocol.notify("$/progress", {"token": 0, "value": number})
        return params.upto  # type: ignore[attr-defined]

    @server.feature("text")
    def text(_server: object, params: object) -> object:
        return LINE * (params.size // len(LINE))  # type: ignore[attr-defined]

    server.start_io()


def pylsp_jsonrpc(*, threads: bool = False) -> None:
    """An endpoint of python-lsp-jsonrpc: a loop that answers one request before it reads the next, or has it answered
    by a thread of its pool, as that must be which may wait."""
    from pylsp_jsonrpc.endpoint import Endpoint
    from pylsp_jsonrpc.streams import JsonRpcStreamReader, JsonRpcStreamWriter

    def numbers(params: dict[str, int]) -> int:
        for number in range(params["upto"]):
            endpoint.notify("$/progress", {"token": 0, "value": number})
        return params["upto"]

    commands = {
        "echo": (lambda params: lambda: params["value"]) if threads else (lambda params: params["value"]),
        "numbers": numbers,
        "text": lambda params: LINE * (params["size"] // len(LINE)),
    }
    reader, writer = JsonRpcStreamReader(sys.stdin.buffer), JsonRpcStreamWriter(sys.stdout.buffer)
    endpoint = Endpoint(commands, writer.write)
    reader.listen(endpoint.consume)


def pylsp_jsonrpc_threads() -> None:
    """The same by threads."""
    pylsp_jsonrpc(threads=True)


def jsonrpcserver() -> None:
    """The dispatcher of jsonrpcserver, which has no pipe of its own, in a loop that answers one request at a time."""
    from jsonrpcserver import Result, Success, dispatch, method

    @method
    def echo(value: str) -> Result:
        return Success(value)

    @method
    def text(size: int) -> Result:
        return Success(LINE * (size // len(LINE)))

    reads, writes = sys.stdin.buffer, sys.stdout.buffer
    while header := reads.readline():
        reads.readline()
        answer = dispatch(reads.read(int(header.split(b":")[1])).decode()).encode()
        writes.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
        writes.flush()


def pipe() -> None:
    """Gives back what comes."""
    while data := os.read(0, 65536):
        os.write(1, data)


def pipe_by_tasks() -> None:
    """The same on a loop of asyncio, with a task for each read: as little as a host with a task a request can do."""

    async def give_back(data: bytes) -> None:
        os.write(1, data)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        tasks: set[asyncio.Task[None]] = set()

        def read() -> None:
            if data := os.read(0, 65536):
                task = loop.create_task(give_back(data))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                ended.set_result(None)

        loop.add_reader(0, read)
        await ended

    asyncio.run(main())


def stream_readers(path: str) -> None:
    """Callers at a socket by asyncio's own server, with no library: it echoes, and has no other command."""

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            await reader.readline()
            request = json.loads(await reader.readexactly(int(header.split(b":")[1])))
            found = {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]["value"]}
            answer = json.dumps(found).encode()
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(caller, path, backlog=512)
        await server.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    named = (ours, pygls, pylsp_jsonrpc, pylsp_jsonrpc_threads, jsonrpcserver, pipe, pipe_by_tasks, stream_readers)
    {host.__name__: host for host in named}[sys.argv[1]](*sys.argv[2:])
