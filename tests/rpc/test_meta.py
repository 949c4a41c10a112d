"""`$meta`: a call's priority, deadline and trace go with it to another host, where they hold."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Priority, Timeout, deadline, effect, priority, rpc, stream
from mountain_runtime._native import current_deadline
from mountain_runtime.errors import TimedOut
from tests.rpc.support import Log, calling, served, small
from tests.rpc.test_serve import until
from tests.telemetry.tracing import leaf, traces


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def asked(log: Log) -> rpc.Router:
    """Commands that say under what they run."""
    router = small(log)

    @router.command("remaining")
    @effect
    async def remaining() -> float | None:
        found = current_deadline()
        return None if found is None else found.remaining()

    @router.command("traced")
    @effect
    async def traced() -> int:
        return await leaf()

    @router.streaming("traced/stream")
    @stream
    async def traced_stream() -> AsyncIterator[int]:
        yield await leaf()

    return router


async def test_a_deadline_goes_with_the_call_and_ends_the_command_there(path: Path) -> None:
    log = Log()
    async with served(asked(log), f"unix:{path}"), rpc.connect(f"unix:{path}", meta=True) as peer:
        assert await peer.call("remaining") is None
        assert 50 < await peer.call("remaining").under(Timeout(60)) <= 60
        async with deadline(40):
            assert 30 < await peer.call("remaining").under(Timeout(60)) <= 40
        with pytest.raises(TimedOut):
            await peer.call("wait", ["call"]).under(Timeout(0.1))
        await until(lambda: "call ends" in log.said)
        # A notification cannot be cancelled: only its own deadline ends it.
        async with deadline(0.1):
            await peer.notify("wait", ["note"])
        await until(lambda: "note ends" in log.said)


async def test_without_meta_a_peer_is_told_nothing_of_ours(path: Path) -> None:
    """A strict server refuses members that JSON-RPC does not have."""
    heard: list[Any] = []
    ended: list[bool] = []

    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(json.loads(line))
            if "id" in heard[-1]:
                writer.write(b'{"jsonrpc":"2.0","id":%d,"result":1}\n' % heard[-1]["id"])
        writer.close()
        await writer.wait_closed()
        ended.append(True)

    async with await asyncio.start_unix_server(strict, path):
        for meta in (False, True):
            async with rpc.connect(f"unix:{path}", framing="lines", meta=meta) as peer:
                async with deadline(60):
                    with priority(Priority.HIGH):
                        await peer.call("a")
                        await peer.notify("b")
                await peer.call("c")
        await until(lambda: len(ended) == 2)
    bare, both = {"jsonrpc", "method"}, {"deadline", "priority"}
    assert [set(each) - {"id"} for each in heard] == [bare] * 3 + [bare | {"$meta"}] * 2 + [bare]
    assert [set(each["$meta"]) for each in heard[3:5]] == [both, both]


async def test_a_priority_goes_with_the_call(path: Path) -> None:
    log = Log()
    router, limit = small(log), ConcurrencyLimit(1)

    @router.command("go")
    @effect(limit)
    async def go(text: str) -> None:
        log.said.append(text)
        await log.release.wait()

    async with served(router, f"unix:{path}"), rpc.connect(f"unix:{path}", meta=True) as peer:
        calls = [asyncio.ensure_future(peer.call("go", ["first"]))]
        await until(lambda: log.said)
        for level in Priority:
            with priority(level):
                calls.append(asyncio.ensure_future(peer.call("go", [level.name])))
        await peer.call("add", [1])
        log.release.set()
        await asyncio.gather(*calls)
    assert log.said == ["first", "HIGH", "NORMAL", "LOW"]


async def test_a_deadline_holds_from_the_coming_of_a_request_that_waits(path: Path) -> None:
    log = Log()
    async with served(asked(log), f"unix:{path}"), calling(path) as caller:
        for number in range(256):
            caller.request(number, "wait", [str(number)])
        caller.request("waits", "remaining", **{"$meta": {"deadline": 30}})
        await until(lambda: len(log.said) == 256)
        await asyncio.sleep(0.2)  # by the clock of the system, as deadlines are
        log.release.set()
        answers = {each["id"]: each for each in [await caller.receive() for _ in range(257)]}
        assert answers["waits"]["result"] < 29.9


async def test_deadlines_of_any_size(path: Path) -> None:
    async with served(asked(Log()), f"unix:{path}"), calling(path) as caller:
        for seconds in (1e308, 1e12, 2**63, 1):
            caller.request(1, "remaining", **{"$meta": {"deadline": seconds}})
            found = await caller.receive()
            assert found["result"] is None or found["result"] > 0.5, found
        caller.request(1, "remaining", **{"$meta": {"deadline": 0}})
        assert (await caller.receive())["error"]["code"] == -32012


@pytest.mark.parametrize("name", ["traced", "traced/stream"])
async def test_the_span_of_a_command_is_a_child_of_its_callers(path: Path, name: str) -> None:
    @effect(name="caller")
    async def ask(peer: rpc.Peer) -> None:
        if name == "traced":
            await peer.call(name)
            return
        async with peer.stream(name) as items:
            assert [each async for each in items] == [1]

    with traces() as spans:
        async with served(asked(Log()), f"unix:{path}"), rpc.connect(f"unix:{path}", meta=True) as peer:
            await ask(peer)
        call = spans.parent(name)
        assert call == ("rpc.call" if name == "traced" else "rpc.stream")
        assert spans.parent(call) == "caller"
        assert spans.parent("leaf") == name


async def test_the_trace_of_another_caller_goes_on_and_a_bad_one_harms_nothing(path: Path) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    good = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "vendor=1"}
    with traces() as spans:
        async with served(asked(Log()), f"unix:{path}"), calling(path) as caller:
            for bad in ("", "x", f"00-{trace}", f"00-{'0' * 32}-{span}-01", f"ff-{trace}-{span}-01", "漢" * 1000):
                caller.request(1, "add", [1], **{"$meta": {"traceparent": bad, "tracestate": ",=;" * 99}})
                assert (await caller.receive())["result"] == 3
            assert [each.parent for each in spans.named("add")] == [None] * 6
            caller.request(1, "traced", **{"$meta": good})
            assert (await caller.receive())["result"] == 1
        found = spans.one("traced")
        assert found.parent is not None
        assert (f"{found.context.trace_id:032x}", f"{found.parent.span_id:016x}") == (trace, span)
        assert dict(found.context.trace_state) == {"vendor": "1"}
    async with served(asked(Log()), f"unix:{path}"), calling(path) as caller:  # where there is no tracing
        caller.request(1, "traced", **{"$meta": good})
        assert (await caller.receive())["result"] == 1
