"""Requests to hosts: over their pipes, beside hosts of other libraries and a bare pipe, in this process, at a socket.

Turns are short and many, so that what else the machine does falls on few of them.
"""

import asyncio
import json
import statistics
import tempfile
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.memory import PAGE, peak_of, resident_of
from benches.rpc_caller import Host, at_socket, host, messages, request
from benches.rpc_hosts import LINE
from benches.workloads import added, in_pairs, one_after_another
from mountain_runtime import effect, rpc

PIPE, TASKS, SOCKETS = "a pipe", "a pipe, a task a request", "start_unix_server"
HOSTS = ("pygls", "python-lsp-jsonrpc", "jsonrpcserver")
THREADS = "python-lsp-jsonrpc, threads"
CASES: Mapping[str, tuple[str, ...]] = {
    "sequential": (PIPE, TASKS, *HOSTS, THREADS),
    "in-flight-64": (*HOSTS, THREADS),
    "call": ("jsonrpcserver",),
    "stream": ("pygls", "python-lsp-jsonrpc"),  # jsonrpcserver has none
    "large": HOSTS,
    "large-memory": HOSTS,
    "idle": (SOCKETS,),
}
#: The hosts by their names in `rpc_hosts.py`, and the modules that they need.
MODULES = {
    OURS: ("ours", "msgspec"),
    "pygls": ("pygls", "pygls"),
    "python-lsp-jsonrpc": ("pylsp_jsonrpc", "pylsp_jsonrpc"),
    "jsonrpcserver": ("jsonrpcserver", "jsonrpcserver"),
    THREADS: ("pylsp_jsonrpc_threads", "pylsp_jsonrpc"),
}
#: Hosts that would take most of a run's time do a part of the requests: the figures are for one.
SLOW = {"pygls": 8, "jsonrpcserver": 4, THREADS: 2}
AT_ONCE = 64
EFFECT = OURS_TOO + "the effect"


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The hosts of the first cases live as long as these; those that are weighed are started for each round."""
    names = {name: argument for name, (argument, module) in MODULES.items() if _module(module)}
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(host(argument)) for name, argument in names.items()}
        pipes = {PIPE: stack.enter_context(host("pipe")), TASKS: stack.enter_context(host("pipe_by_tasks"))}
        yield _sequential(scale, hosts | pipes)
        yield _in_flight(scale, hosts)
        yield _stream(scale, hosts)
    yield _call(scale)
    yield _large(scale, {name: names[name] for name in (OURS, *HOSTS) if name in names})
    yield _idle(scale)


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jsonrpcserver reads its schema in a way that Python advises against
        return optional(name)


# -- over pipes -----------------------------------------------------------------------------------------------------


def _sequential(scale: Scale, hosts: Mapping[str, Host]) -> Contest:
    count = scale.pick(full=800, quick=800, tiny=32)
    turns = {name: _echoed(each, count // SLOW.get(name, 1), 1) for name, each in hosts.items()}
    above = Extra(
        "sequential",
        "above a pipe",
        "us",
        _above_a_pipe,
        lambda samples: figures(samples[PIPE]),
        (OURS, PIPE),
        resolution=0.1,
    )
    rounds = scale.pick(full=60, quick=20, tiny=1)
    return Contest(rounds, turns, {(0, "text")}, (Measure("sequential", "us"),), (above,))


def _above_a_pipe(samples: Samples) -> list[float]:
    pipe = statistics.median(figures(samples[PIPE]))
    return [mine - pipe for mine in figures(samples[OURS])]


def _in_flight(scale: Scale, hosts: Mapping[str, Host]) -> Contest:
    count = scale.pick(full=1024, quick=1024, tiny=128)
    turns = {name: _echoed(each, count // SLOW.get(name, 1), AT_ONCE) for name, each in hosts.items()}
    expected = {(number, "text") for number in range(AT_ONCE)}
    return Contest(scale.pick(full=60, quick=20, tiny=1), turns, expected, (Measure("in-flight-64", "us"),))


def _echoed(of: Host, count: int, at_once: int) -> Round:
    """Microseconds a request. The next ones are sent when all of them are answered."""
    sent = b"".join(request(number, "echo", value="text") for number in range(at_once))
    turns = max(count // at_once, 1)
    sizes: list[int] = []

    async def turn() -> Sample:
        if not sizes:
            sizes.append(of.size_of(sent, at_once))
        of.turns(sent, sizes[0], turns // 10 + 1)  # another process has had its turn: this one's code is brought back
        start = perf_counter()
        came = of.turns(sent, sizes[0], turns)
        took = perf_counter() - start
        found = [(each["id"], _said(each)) for each in messages(b"".join(came))]
        assert len(found) == turns * at_once
        return Sample((took / len(found) * 1e6,), set(found))

    return turn


def _said(message: Any) -> object:
    """The result; a pipe gives back the request."""
    return message["result"] if "result" in message else message["params"]["value"]


def _stream(scale: Scale, hosts: Mapping[str, Host]) -> Contest:
    count = scale.pick(full=20_000, quick=20_000, tiny=2000)

    def of(name: str, each: Host) -> Round:
        upto = count // (1 if name == OURS else 10)
        sent = request(0, "numbers", upto=upto)

        async def turn() -> Sample:
            start = perf_counter()
            came = each.streamed(sent)
            took = perf_counter() - start
            *progress, answer = messages(b"".join(came))
            values = [message["params"]["value"] for message in progress]
            items = [item for value in values for item in (value if isinstance(value, list) else [value])]
            return Sample((took / upto * 1e6,), items == list(range(upto)) and answer["result"] == upto)

        return turn

    turns = {name: of(name, hosts[name]) for name in (OURS, *CASES["stream"]) if name in hosts}
    return Contest(scale.pick(full=40, quick=15, tiny=1), turns, True, (Measure("stream", "us"),))


# -- in this process ------------------------------------------------------------------------------------------------


def _call(scale: Scale) -> Contest:
    """A call by the router less the effect itself, and a request by the dispatcher less the bare function."""
    numbers = range(scale.pick(full=1000, quick=1000, tiny=20))
    router = rpc.Router()

    @router.command("echo")
    @effect
    async def echo(value: int) -> int:
        return value

    def called(number: int) -> Any:
        return router.call("echo", {"value": number})

    alone: Callable[[Sequence[int]], Any] = partial(one_after_another, echo)

    async def effect_alone() -> Sample:
        return await alone(in_pairs(numbers))

    turns: dict[str, Round] = {
        OURS: partial(added, alone, partial(one_after_another, called), numbers),
        EFFECT: effect_alone,
    }
    if jsonrpcserver := _module("jsonrpcserver"):
        turns["jsonrpcserver"] = partial(
            added, partial(one_after_another, _trivial), _dispatched(jsonrpcserver), numbers
        )
    beside = Extra("call", "the effect", "us", lambda s: figures(s[OURS]), lambda s: figures(s[EFFECT]), (OURS, EFFECT))
    rounds = scale.pick(full=50, quick=20, tiny=2)
    return Contest(rounds, turns, in_pairs(numbers), (Measure("call", "us"),), (beside,))


async def _trivial(number: int) -> int:
    return number


def _dispatched(jsonrpcserver: Any) -> Callable[[Sequence[int]], Any]:
    async def echo(value: int) -> Any:
        return jsonrpcserver.Success(value)

    dispatch = partial(jsonrpcserver.async_dispatch, methods={"echo": echo})

    async def block(numbers: Sequence[int]) -> Sample:
        texts = [request(number, "echo", value=number).partition(b"\r\n\r\n")[2].decode() for number in numbers]
        found = await one_after_another(dispatch, texts)
        return Sample(found.figures, [json.loads(each)["result"] for each in found.answer])  # type: ignore[attr-defined]

    return block


# -- memory, in a fresh process for each round ----------------------------------------------------------------------


def _large(scale: Scale, names: Mapping[str, str]) -> Contest:
    """The time until the caller has all of one answer, and by how much the host was larger meanwhile, at most."""
    size = scale.pick(full=100_000_000, quick=100_000_000, tiny=1_000_000)

    def of(name: str) -> Round:
        async def turn() -> Sample:
            with host(name) as each:
                each.answered(request(0, "echo", value="text"))
                before = resident_of(each.pid)
                start = perf_counter()
                came = each.answered(request(1, "text", size=size))
                took = perf_counter() - start
                peak = peak_of(each.pid)
            (answer,) = messages(b"".join(came))
            right = answer["result"] == LINE * (size // len(LINE))
            return Sample((took * 1e3, max(peak - before, PAGE) / size), right)

        return turn

    turns = {name: of(argument) for name, argument in names.items()}
    measures = (Measure("large", "ms"), Measure("large-memory", "x its size", figure=1))
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, True, measures, warm_ups=0)


def _idle(scale: Scale) -> Contest:
    """The memory of each of many callers at a socket who have had an answer and ask for no more."""
    count = scale.pick(full=1000, quick=1000, tiny=50)
    sent = request(0, "echo", value="text")

    def of(name: str, address: str) -> Round:
        async def turn() -> Sample:
            with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                path = str(Path(folder) / "socket")
                each = stack.enter_context(host(name, address + path))
                answers = set()
                for number in range(-10, count):  # the first ones are not counted: they make what all share
                    if not number:
                        before = resident_of(each.pid)
                    caller = stack.enter_context(at_socket(path))
                    caller.sendall(sent)
                    (answer,) = messages(caller.recv(1 << 16))
                    answers.add(answer["result"])
                await asyncio.sleep(0.2)  # another process: what its last turn has made may go
                return Sample((max(resident_of(each.pid) - before, PAGE) / 1024 / count,), answers)

        return turn

    turns = {OURS: of("ours", "unix:"), SOCKETS: of("stream_readers", "")}
    return Contest(scale.pick(full=7, quick=3, tiny=1), turns, {"text"}, (Measure("idle", "KB"),), warm_ups=0)
