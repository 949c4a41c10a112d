"""Peer: calls that find their answers, whatever is cancelled, and whichever end goes."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import RateLimit, Retry, Timeout, constant, effect, process, rpc, sidecar, stream
from mountain_runtime.errors import ConfigError, PeerError, RateLimited, ShuttingDown, TimedOut
from mountain_runtime.rpc._messages.codes import raised
from tests.rpc.support import Log, served, small
from tests.rpc.test_serve import until

HOST = (sys.executable, "-m", "tests.rpc.hosts", "serve")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_calls_are_effects(path: Path) -> None:
    log = Log()
    router = small(log)
    limit = RateLimit(1, per=60, max_wait=0)

    @router.command("limited")
    @effect(limit)
    async def limited() -> None: ...

    async with served(router, f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        assert await peer.call("add", {"a": 1}) == 3
        assert await peer.call("add", [1, 5]) == 6
        assert await asyncio.gather(*(peer.call("add", [a]) for a in range(500))) == [a + 2 for a in range(500)]
        value = peer.call("echo", [{"a": [None]}]).map(lambda found: found["a"])
        assert (await value, await value) == ([None], [None])
        with pytest.raises(PeerError, match="no such thing") as found:
            await peer.call("fail")
        assert (found.value.code, found.value.data) == (-32010, {"type": "LookupError"})
        with pytest.raises(TimedOut, match="slow"):
            await peer.call("slow")
        await peer.call("limited")
        with pytest.raises(RateLimited) as limited_:
            await peer.call("limited")
        assert 0 < limited_.value.retry_after <= 60
        await peer.notify("note", ["x"])
        await until(lambda: log.said == ["x"])
        with pytest.raises(TypeError):
            await peer.call("echo", [object()])
        assert await peer.call("add", [1]) == 3


async def test_a_timed_out_call_tells_the_peer_and_drops_its_answer(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        with pytest.raises(TimedOut):
            await peer.call("wait", ["a"]).under(Timeout(0.05))
        await until(lambda: log.said == ["a begins", "a ends"])
        assert await peer.call("add", [1]) == 3


async def test_cancels_at_any_moment_leave_no_answer_to_another(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:

        async def one(number: int) -> bool:
            task = asyncio.create_task(_value(peer, number))
            for _ in range(number % 23):
                await asyncio.sleep(0)
            task.cancel()
            try:
                return await task == number
            except asyncio.CancelledError:
                return True

        for start in range(0, 10_000, 500):
            assert all(await asyncio.gather(*(one(number) for number in range(start, start + 500))))


async def _value(peer: rpc.Peer, number: int) -> Any:
    return await peer.call("echo", [number])


async def test_streams_and_their_windows(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        async with peer.stream("count", [3000]) as items:
            assert [item async for item in items] == list(range(3000))
        async with peer.stream("forever") as items:
            assert await anext(items) == "x"
            before = 0
            while before != (before := log.sent):
                await asyncio.sleep(0.05)  # it has sent what the window allows
            assert before <= 1024
            assert await peer.call("add", [1]) == 3
        await until(lambda: log.said[-1] == "forever ends")
        with pytest.raises(PeerError, match="no more"):
            async with peer.stream("count", {"to": 2, "fails": True}) as items:
                assert [await anext(items), await anext(items)] == [0, 1]
                await anext(items)


async def test_the_peer_may_ask_too(tmp_path: Path) -> None:
    """Both ends of one connection have a router, and ask each other within a command."""
    ours, asked = rpc.Router(), []

    @ours.command("name")
    @effect
    async def name(of: int) -> str:
        asked.append(of)
        return f"name of {of}"

    code = """
import json, sys
def read():
    size = int(sys.stdin.buffer.readline().split(b":")[1]); sys.stdin.buffer.readline()
    return json.loads(sys.stdin.buffer.read(size))
def write(message):
    body = json.dumps({"jsonrpc": "2.0"} | message).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body); sys.stdout.buffer.flush()
while True:
    question = read()
    if "method" not in question or "id" not in question: continue
    write({"id": 1, "method": "name", "params": [7]})
    write({"id": "x", "method": "nothing"})
    answers = [read(), read()]
    write({"id": question["id"], "result": sorted(answers, key=lambda each: str(each["id"]))})
"""
    async with process.open(sys.executable, "-c", code) as p, rpc.connect(p, router=ours) as peer:
        first, second = await peer.call("go")
    assert first == {"jsonrpc": "2.0", "id": 1, "result": "name of 7"}
    assert (second["id"], second["error"]["code"]) == ("x", -32601)
    assert asked == [7]


async def test_leaving_the_block_cancels_what_a_peer_has_asked(path: Path) -> None:
    """Also of a peer that has ended its side."""
    log = Log()

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"wait","params":["w"]}\n')
        writer.write_eof()
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(other, path), asyncio.timeout(30):
        async with rpc.connect(f"unix:{path}", framing="lines", router=small(log)):
            await until(lambda: log.said)
        assert log.said == ["w begins", "w ends"]


@pytest.mark.processes
async def test_a_peer_that_dies_fails_what_is_in_flight() -> None:
    async with process.open(*HOST) as p, rpc.connect(p) as peer:
        assert await peer.call("add", [1]) == 3
        waiting = [asyncio.ensure_future(peer.call("wait", ["a"])) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError, match="'die' may have run"):
            await peer.call("die")
        for each in waiting:
            with pytest.raises(ConnectionResetError, match="may have run"):
                await each
        with pytest.raises(BrokenPipeError, match="was not sent"):
            await peer.call("add", [1])
        with pytest.raises(BrokenPipeError):
            await peer.notify("add", [1])


@pytest.mark.processes
async def test_behind_a_sidecar_that_restarts_the_next_call_goes_to_the_next_run() -> None:
    async with sidecar(*HOST, restart=constant(0.01))() as p, rpc.connect(p) as peer:
        assert await peer.call("add", [1]) == 3
        for _ in range(2):
            before = p.pid
            waiting = asyncio.ensure_future(peer.call("wait", ["a"]))
            await peer.call("add", [1])
            os.kill(before, signal.SIGKILL)
            with pytest.raises(ConnectionResetError):
                await waiting
            asked = peer.call("add", [2]).under(Timeout(30), Retry(on=ConnectionError, attempts=3))
            assert await asked == 4
            assert p.pid != before


@pytest.mark.processes
async def test_leaving_the_block_ends_calls_and_leaves_the_process() -> None:
    async with process.open(*HOST) as p:
        async with rpc.connect(p) as peer:
            waiting = asyncio.ensure_future(peer.call("wait", ["a"]))
            await peer.call("add", [1])
        with pytest.raises(ConnectionResetError):
            await waiting
        with pytest.raises(BrokenPipeError):
            await peer.call("add", [1])
        assert "running" in repr(p)


@pytest.mark.processes
async def test_a_child_that_ignores_the_end_of_its_input_is_gone_in_time() -> None:
    """R3."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(600)"
    )
    async with asyncio.timeout(30):
        async with process.open(sys.executable, "-c", code) as p, rpc.connect(p, framing="lines") as peer:
            with pytest.raises(TimedOut):
                await peer.call("x").under(Timeout(1))
            pid = p.pid
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_answer_that_came_before_the_peer_went_is_heard(path: Path) -> None:
    """Also when the next call finds out first that it has gone."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        async with rpc.connect(f"unix:{path}") as peer:
            with listening.accept()[0] as there:
                first = asyncio.ensure_future(peer.call("first"))
                request = await asyncio.to_thread(there.recv, 1000)
                assert b'"id":1' in request
                body = b'{"jsonrpc":"2.0","id":1,"result":"done"}'
                second = asyncio.ensure_future(peer.call("second"))
                await asyncio.sleep(0)  # it is to be written in the next turn
                there.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            assert await first == "done"
            with pytest.raises(ConnectionResetError):
                await second
            with pytest.raises(BrokenPipeError):
                await peer.call("third")


async def test_an_answer_that_a_program_wrote_before_it_ended_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the next call finds out first that it has ended."""
    monkeypatch.setattr("mountain_runtime.rpc._wires.process_wire._LAST", 30.0)  # it writes late on a busy machine
    body = b'{"jsonrpc":"2.0","id":1,"result":"done"}'
    answer = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    code = f"import os; os.read(0, 1); os.close(0); os.write(1, {answer!r})"
    for _ in range(10):  # either may come first
        async with process.open(sys.executable, "-c", code) as child, rpc.connect(child) as peer:
            first = asyncio.ensure_future(peer.call("first"))
            await asyncio.sleep(0)  # it has the id 1
            while not first.done():
                with contextlib.suppress(OSError):
                    await asyncio.wait_for(peer.call("more"), 0.001)
            assert await first == "done"


async def test_a_host_that_shuts_down_says_so(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}") as task, rpc.connect(f"unix:{path}") as peer:
        waiting = asyncio.ensure_future(peer.call("wait", ["a"]))
        await peer.call("add", [1])
        task.cancel()
        with pytest.raises(PeerError, match="may have run") as caught:  # and no Rejected, which may be repeated
            await waiting
        assert caught.value.code == -32013


@pytest.mark.parametrize(("may_have_run", "kind"), [(False, ShuttingDown), (True, PeerError), (None, PeerError)])
def test_only_what_has_not_run_is_rejected(may_have_run: bool | None, kind: type[Exception]) -> None:
    data = {"type": "ShuttingDown", "may_have_run": may_have_run}
    error = raised({"code": -32013, "message": "the host shuts down", "data": data}, "add")
    assert type(error) is kind


async def test_odd_answers_harm_nothing(path: Path) -> None:
    code = """
import sys
for line in sys.stdin:
    for answer in ['{}', '[]', '7', '"', '{"jsonrpc":"2.0","id":99,"result":1}',
                   '{"id":null,"error":{"code":1,"message":"x"}}',
                   '{"jsonrpc":"2.0","id":1,"error":7}', '{"jsonrpc":"2.0","id":1,"result":8}',
                   '{"jsonrpc":"2.0","id":2,"error":{"code":5,"message":"m","data":[1]},"result":null}']:
        print(answer, flush=True)
    sys.stdin.readline()
"""
    async with process.open(sys.executable, "-c", code) as p, rpc.connect(p, framing="lines") as peer:
        one, two = await asyncio.gather(peer.call("a"), peer.call("b"), return_exceptions=True)
    assert isinstance(one, PeerError)
    assert "an error that is none" in str(one)
    assert isinstance(two, PeerError)
    assert (two.code, two.message, two.data) == (5, "m", [1])


@pytest.mark.parametrize(("theirs", "ours"), [("lsp", "lines"), ("lines", "lsp")])
async def test_a_peer_of_the_other_framing_is_found_out(path: Path, theirs: Any, ours: Any) -> None:
    async with served(small(Log()), f"unix:{path}", framing=theirs), asyncio.timeout(30):
        async with rpc.connect(f"unix:{path}", framing=ours) as peer:
            with pytest.raises(ConnectionResetError, match=f"framing='{theirs}', and the connection is over; 'add'"):
                await peer.call("add", [1])
            with pytest.raises(BrokenPipeError, match=f"framing='{theirs}'.*'add' was not sent"):
                await peer.call("add", [1])


async def test_a_host_that_takes_no_more_callers_says_why(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}", max_callers=1), rpc.connect(f"unix:{path}") as one:
        assert await one.call("add", [1]) == 3
        async with rpc.connect(f"unix:{path}") as two:
            with pytest.raises(ConnectionError, match="has gone, and said: there are 1 callers already"):
                await two.call("add", [1])


async def test_where_nothing_is() -> None:
    with pytest.raises(FileNotFoundError, match="/nowhere/s"):
        async with rpc.connect("unix:/nowhere/s"):
            pass
    for address in ("stdio:", "x", "", 7):
        with pytest.raises(ConfigError):
            rpc.connect(address)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"must be an rpc\.Router"):
        rpc.connect("unix:x", router=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="framing"):
        rpc.connect("unix:x", framing="http")  # type: ignore[arg-type]


async def test_a_stream_of_a_peer_that_dies_ends_with_its_error(path: Path) -> None:
    router = rpc.Router()

    @router.streaming("few")
    @stream
    async def few() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async with served(router, f"unix:{path}") as task, rpc.connect(f"unix:{path}") as peer, peer.stream("few") as items:
        assert await anext(items) == 1
        task.cancel()
        with pytest.raises(PeerError, match="may have run"):
            await anext(items)
