"""Hosts of one command, `echo`, on stdio: ours, those of other libraries, and a pipe that gives back what comes."""

import os
import sys


def ours() -> None:
    """A router of this package."""
    from mountain_runtime import Runtime, effect, rpc, run

    router = rpc.Router()

    @router.command("echo")
    @effect
    async def echo(value: str) -> str:
        return value

    async def main(_: Runtime) -> None:
        await router.serve("stdio:")

    run(main)


def pygls() -> None:
    """A server of pygls."""
    from pygls.protocol import JsonRPCProtocol, default_converter
    from pygls.server import JsonRPCServer

    server = JsonRPCServer(JsonRPCProtocol, default_converter)

    @server.feature("echo")
    def echo(_server: object, params: object) -> object:
        return params.value  # type: ignore[attr-defined]

    server.start_io()


def pylsp_jsonrpc() -> None:
    """An endpoint of python-lsp-jsonrpc."""
    from pylsp_jsonrpc.endpoint import Endpoint
    from pylsp_jsonrpc.streams import JsonRpcStreamReader, JsonRpcStreamWriter

    reader, writer = JsonRpcStreamReader(sys.stdin.buffer), JsonRpcStreamWriter(sys.stdout.buffer)
    endpoint = Endpoint({"echo": lambda params: params["value"]}, writer.write)
    reader.listen(endpoint.consume)


def pipe() -> None:
    """Gives back what comes."""
    while data := os.read(0, 65536):
        os.write(1, data)


if __name__ == "__main__":
    {"ours": ours, "pygls": pygls, "pylsp_jsonrpc": pylsp_jsonrpc, "pipe": pipe}[sys.argv[1]]()
