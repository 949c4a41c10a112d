"""Requests over the pipes of a host: one after another, and 64 in flight, beside hosts of other libraries."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO

from benches.harness import OURS, Contest, Measure, Round, Sample, Scale, optional

CASES: Mapping[str, tuple[str, ...]] = {
    "sequential": ("a pipe", "pygls", "python-lsp-jsonrpc"),
    "in-flight-64": ("pygls", "python-lsp-jsonrpc"),
}
#: The hosts, and the modules that they need.
HOSTS = {
    OURS: ("ours", "msgspec"),
    "pygls": ("pygls", "pygls"),
    "python-lsp-jsonrpc": ("pylsp_jsonrpc", "pylsp_jsonrpc"),
}
AT_ONCE = 64


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """Each case with hosts of its own, which live as long as it."""
    count = scale.pick(full=4000, quick=1000, tiny=64)
    rounds = scale.pick(full=9, quick=3, tiny=1)
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(_host(host)) for name, (host, module) in HOSTS.items() if optional(module)}
        pipe = stack.enter_context(_host("pipe"))
        one: dict[str, Round] = {name: _round(host, count, 1) for name, host in (hosts | {"a pipe": pipe}).items()}
        yield Contest(rounds, one, count, (Measure("sequential", "us"),))
        many: dict[str, Round] = {name: _round(host, count, AT_ONCE) for name, host in hosts.items()}
        yield Contest(rounds, many, count // AT_ONCE * AT_ONCE, (Measure("in-flight-64", "us"),))


def _round(host: "subprocess.Popen[bytes]", count: int, at_once: int) -> Round:
    """Microseconds a request. The next ones are sent when all of them are answered."""
    messages = b"".join(_request(number) for number in range(at_once))
    turns = count // at_once

    async def turn() -> Sample:
        assert host.stdin is not None
        assert host.stdout is not None
        answered = 0
        start = perf_counter()
        for _ in range(turns):
            host.stdin.write(messages)
            host.stdin.flush()
            for _ in range(at_once):
                answered += b"text" in _answer(host.stdout)
        took = perf_counter() - start
        return Sample((took / answered * 1e6,), answered)

    return turn


def _request(number: int) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "echo", "params": {"value": "text"}}).encode()
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _answer(stream: IO[bytes]) -> bytes:
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.startswith(b"Content-Length"):
            length = int(line.split(b":")[1])
    assert length, "the host has ended"
    return stream.read(length)


@contextmanager
def _host(name: str) -> Iterator["subprocess.Popen[bytes]"]:
    program = Path(__file__).parents[1] / "rpc_hosts.py"
    argv = [sys.executable, "-W", "ignore", str(program), name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.kill()
