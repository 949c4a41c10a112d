"""Figures of requests: each is counted once, for its command and its caller, by what became of it."""

import asyncio
import gc
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mountain_runtime import ConcurrencyLimit, RateLimit, Runtime, Shutdown, _native, effect, rpc
from mountain_runtime.errors import PeerError, TimedOut
from mountain_runtime.rpc._messages import codes
from tests.rpc.support import Log, calling, served, small


class Figures:
    """Of one router with `small` commands, in a scrape."""

    def __init__(self, log: Log, *policies: Any, **settings: Any) -> None:
        self.name = f"router {uuid4().hex[:8]}"
        self.router: rpc.Router | None = small(log, *policies, name=self.name, **settings)

    @property
    def made(self) -> rpc.Router:
        assert self.router is not None
        return self.router

    def all(self, metric: str) -> dict[tuple[str, ...], float]:
        """By the labels but the router's."""
        text = _native.metrics_text(openmetrics=True)
        found = re.findall(rf'^mountain_rpc_{metric}{{router="{self.name}"(.*?)}} (\S+)$', text, re.MULTILINE)
        return {tuple(re.findall(r'="([^"]*)"', labels)): float(n) for labels, n in found if float(n)}

    @property
    def ended(self) -> dict[tuple[str, ...], float]:
        """By command and outcome."""
        return self.all("requests_total")

    @property
    def running(self) -> float:
        return sum(self.all("running").values())

    @property
    def callers(self) -> float:
        return sum(self.all("callers").values())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)  # bytes travel by the system, in real time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_requests_by_what_became_of_them(path: Path) -> None:
    figures = Figures(Log())

    @figures.made.command("limited")
    @effect(RateLimit(1, per=60, max_wait=0))
    async def limited() -> None: ...

    async with served(figures.made, f"unix:{path}"), calling(path) as caller:
        asked = [("add", [1]), ("add", [2]), ("add", ["x"]), ("fail", None), ("slow", None), ("limited", None)]
        asked += [("limited", None), ("count", [3]), ("nothing", None), (f"nothing {uuid4()}", None)]
        for number, (name, params) in enumerate(asked):
            caller.request(number, name, params)
            while "id" not in await caller.receive():
                pass
        caller.send(b"{")
        await caller.receive()
        await caller.ask([])
        await caller.ask({"jsonrpc": "2.0", "id": 1})
        caller.send(b'{"jsonrpc": "2.0", "id": 1, "method": "add", "params": [tru]}')
        await caller.receive()
        assert figures.ended == {
            ("add", "succeeded"): 2,
            ("add", "wrong_params"): 1,
            ("fail", "failed"): 1,
            ("slow", "timed_out"): 1,
            ("limited", "succeeded"): 1,
            ("limited", "rejected"): 1,
            ("count", "succeeded"): 1,
            ("other", "unknown"): 2,
            ("other", "invalid"): 4,
        }
    assert figures.running == 0
    assert figures.all("seconds_count")["add",] == 3


async def test_cancels_before_it_runs_and_while_it_does(path: Path) -> None:
    log = Log()
    figures = Figures(log, ConcurrencyLimit(1))
    async with served(figures.made, f"unix:{path}"), calling(path) as caller:
        for number in range(300):  # more than are at work at once
            caller.request(number, "wait", [str(number)])
        await until(lambda: figures.running == 300)
        for number in (0, 1, 299):  # at work, before the limit, and before its place
            caller.notify("$/cancelRequest", {"id": number})
            assert (await caller.receive())["error"]["code"] == codes.CANCELLED
        assert figures.ended == {("wait", "cancelled"): 3}
        assert figures.running == 297
        log.release.set()
        for _ in range(297):
            await caller.receive()
        assert figures.ended == {("wait", "cancelled"): 3, ("wait", "succeeded"): 297}
        assert figures.running == 0


async def test_notifications_and_batches(path: Path) -> None:
    log = Log()
    figures = Figures(log)
    async with served(figures.made, f"unix:{path}"), calling(path) as caller:
        caller.notify("note", ["a"])
        caller.notify("fail")
        caller.notify("add", ["x"])
        caller.notify("nothing")
        caller.notify("count", [3])
        caller.send(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "add", "params": [1]},
                {"jsonrpc": "2.0", "method": "note", "params": ["b"]},
                {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
                7,
            ]
        )
        assert len(await caller.receive()) == 3
        await until(lambda: figures.ended.get(("note", "succeeded")) == 2)
        assert figures.ended == {
            ("note", "succeeded"): 2,
            ("fail", "failed"): 1,
            ("add", "wrong_params"): 1,
            ("add", "succeeded"): 1,
            ("count", "invalid"): 1,
            ("other", "unknown"): 2,
            ("other", "invalid"): 1,
        }


async def test_what_a_caller_that_goes_has_asked_is_cancelled_and_it_is_no_caller_any_more(path: Path) -> None:
    log = Log()
    figures = Figures(log)
    async with served(figures.made, f"unix:{path}"):
        async with calling(path) as one, calling(path) as other:
            one.request(1, "wait", ["a"])
            one.notify("wait", ["b"])
            for _ in range(3):
                one.notify("note", ["never"])
            other.request(1, "wait", ["c"])
            await until(lambda: figures.running == 6)
            assert figures.callers == 2
            one.writer.transport.abort()
            await until(lambda: figures.callers == 1)
        await until(lambda: figures.callers == 0)
    assert figures.running == 0
    assert figures.ended == {("wait", "cancelled"): 3, ("note", "cancelled"): 3}


async def test_a_shutdown_answers_and_refuses(path: Path) -> None:
    log = Log()
    figures = Figures(log)
    async with Runtime(shutdown=Shutdown(deadline=30)) as rt:
        task = asyncio.create_task(figures.made.serve(f"unix:{path}"))
        await until(path.exists)
        async with calling(path) as caller:
            caller.request("s", "forever")
            for number in range(256):  # one waits
                caller.request(number, "wait", ["w"])
            await until(lambda: len(log.said) == 255)
            closing = rt._begin_close(drain=True)
            await until(lambda: ("wait", "shutting_down") in figures.ended)
            caller.request("new", "add", [1])
            caller.notify("note", ["never"])
            await until(lambda: ("note", "shutting_down") in figures.ended)
            log.release.set()
            await task
        await closing
    assert figures.ended == {
        ("wait", "succeeded"): 255,
        ("wait", "shutting_down"): 1,
        ("forever", "shutting_down"): 1,
        ("add", "shutting_down"): 1,
        ("note", "shutting_down"): 1,
    }
    assert figures.running == 0


@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
async def test_calls_in_this_process_count_as_requests(tmp_path: Path, recorded: bool) -> None:
    log = Log()
    figures = Figures(log, record=rpc.Record(tmp_path / "record") if recorded else None)
    call = figures.made.call
    assert await call("add", [1]) == 3
    assert await call("count", [3]) == [0, 1, 2]
    with pytest.raises(LookupError):
        await call("fail")
    with pytest.raises(LookupError):
        await call("count", [3, True])
    with pytest.raises(TimedOut):
        await call("slow")
    for name in ("add", "nothing"):
        with pytest.raises(PeerError):
            await call(name, ["x"])
    waiting = asyncio.ensure_future(call("wait", ["a"]))
    await asyncio.sleep(0)
    assert figures.running == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert figures.ended == {
        ("add", "succeeded"): 1,
        ("add", "wrong_params"): 1,
        ("count", "succeeded"): 1,
        ("count", "failed"): 1,
        ("fail", "failed"): 1,
        ("slow", "timed_out"): 1,
        ("wait", "cancelled"): 1,
        ("other", "unknown"): 1,
    }
    assert (figures.running, figures.callers) == (0, 0)


async def test_a_router_that_is_gone_keeps_its_counts_and_has_no_command_at_work(path: Path) -> None:
    figures = Figures(Log())
    async with served(figures.made, f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        await peer.call("add", [1])
        assert figures.callers == 1
    figures.router = None
    gc.collect()
    assert figures.ended == {("add", "succeeded"): 1}
    assert (figures.running, figures.callers) == (0, 0)


def test_lost_lines_of_a_record_are_counted(tmp_path: Path) -> None:
    def lost() -> float:
        found = re.search(
            r"^mountain_rpc_record_lost_total (\S+)$", _native.metrics_text(openmetrics=True), re.MULTILINE
        )
        assert found is not None
        return float(found[1])

    before = lost()
    (tmp_path / "file").touch()
    record = rpc.Record(tmp_path / "file" / "record")
    router = small(Log(), record=record)

    async def calls() -> None:
        for _ in range(3):
            await router.call("add", [1])

    asyncio.run(calls())
    record.flush()
    assert record.lost == 6
    assert lost() == before + 6


def test_each_code_has_an_end_that_is_counted() -> None:
    own = {getattr(codes, name) for name in codes.__all__ if name.isupper() and name != "ENDS"}
    assert set(codes.ENDS) == own - {codes.INTERNAL}  # which is never answered
    router = _native.RouterFigures(f"router {uuid4().hex[:8]}")
    command, here = router.command("x"), router.here()
    for end in codes.ENDS.values():
        here.refuse(command, end)
    with pytest.raises(ValueError, match="no end of a request"):
        here.refuse(command, "lost")


def test_a_forked_child_has_no_callers() -> None:
    figures = Figures(Log())
    router = _native.RouterFigures(figures.name)
    caller = router.caller("1", "unix:")
    command = router.command("add")
    began = caller.begin(command)
    assert (figures.running, figures.callers) == (1, 1)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, f"{figures.running} {figures.callers}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"0 0"
    caller.succeeded(command, began)
    os.close(read), os.close(write)
