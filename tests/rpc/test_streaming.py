"""Streams: items by `$/progress`, no more than the caller takes, then their number."""

import asyncio
from pathlib import Path

import pytest

from mountain_runtime import rpc
from tests.rpc.support import Log, calling, served, small
from tests.rpc.test_serve import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_streams_send_items_and_then_their_number(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request("s", "count", [5000])
        items: list[int] = []
        while "method" in (message := await caller.receive()):
            assert message["method"] == "$/progress"
            assert message["params"]["token"] == "s"
            items += message["params"]["value"]
        assert items == list(range(5000))
        assert message == {"jsonrpc": "2.0", "id": "s", "result": 5000}
        caller.request(2, "count", {"to": 2, "fails": True})
        assert (await caller.receive())["params"]["value"] == [0, 1]
        assert (await caller.receive())["error"]["data"]["type"] == "LookupError"


async def test_a_slow_reader_slows_its_stream_and_no_other_caller(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as slow, calling(path) as other:
        slow.writer.transport.pause_reading()
        slow.request(1, "forever", [1000])
        await until(lambda: log.sent)
        before = 0
        while before != (before := log.sent):
            await asyncio.sleep(0.1)  # the system's buffers fill
        assert before < 20_000
        other.request(1, "add", [1])
        assert (await other.receive())["result"] == 3
        slow.notify("$/cancelRequest", {"id": 1})
        slow.writer.transport.resume_reading()
        while "method" in (message := await slow.receive()):
            pass
        assert message["error"]["code"] == -32800
        assert "forever ends" in log.said


async def test_a_window_bounds_what_is_on_its_way(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request(1, "count", [10], **{"$meta": {"window": 4}})
        got: list[int] = []
        while len(got) < 4:
            got += (await caller.receive())["params"]["value"]
        caller.request(2, "add", [1])
        assert (await caller.receive())["id"] == 2  # no item before it
        caller.notify("$/credit", {"token": 1, "items": 100})
        while "method" in (message := await caller.receive()):
            got += message["params"]["value"]
        assert (got, message["result"]) == (list(range(10)), 10)


async def test_a_long_stream_keeps_nothing_of_its_waits(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        async with peer.stream("forever") as items:
            for _ in range(3000):
                await anext(items)
            assert peer._end._calls is not None
            (call,) = peer._end._calls._calls.values()
            assert len(call.future._callbacks) == 1  # type: ignore[attr-defined]
