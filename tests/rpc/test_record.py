"""Record and replay: what is written of requests, within its bound, and what differs when they run again."""

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import effect, rpc, stream
from mountain_runtime.errors import ConfigError, PeerError, TimedOut
from mountain_runtime.rpc._record import record as _record
from mountain_runtime.testing import VirtualClock
from tests.rpc.support import Log, calling, served, small


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def both(router: rpc.Router, *calls: tuple[str, Any]) -> None:
    """Calls them in this process, whatever they raise."""
    for name, params in calls:
        try:
            await router.call(name, params)
        except (PeerError, LookupError, TimedOut):
            pass


async def test_a_request_and_its_outcome_are_a_line_each(tmp_path: Path) -> None:
    record = rpc.Record(tmp_path / "r")
    await both(small(Log(), record=record), ("add", {"a": 1}), ("add", ["x"]), ("fail", []), ("none", []), ("slow", ()))
    record.flush()
    found = lines(tmp_path / "r")
    assert [each["name"] for each in found[::2]] == ["add", "add", "fail", "none", "slow"]
    assert [each["id"] for each in found[::2]] == [each["id"] for each in found[1::2]]
    assert found[0]["params"] == {"a": 1}
    assert found[0]["caller"] is None
    assert found[1]["result"] == 3
    assert [each["error"]["code"] for each in found[3::2]] == [-32602, -32010, -32601, -32012]
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600
    assert record.lost == 0


async def test_nothing_differs_where_nothing_has_changed(tmp_path: Path) -> None:
    record = rpc.Record(tmp_path / "r")
    router = small(Log(), record=record)
    await both(router, ("add", {"a": 1}), ("add", ["x"]), ("fail", []), ("none", []), ("slow", ()), ("count", [3]))
    assert await rpc.replay(tmp_path / "r", router) == []
    assert len(lines(tmp_path / "r")) == 12  # a replay is not recorded


async def test_what_differs_has_both_outcomes(tmp_path: Path) -> None:
    def changed(value: Any, number: int, message: str, record: rpc.Record | None = None) -> rpc.Router:
        router = rpc.Router(record=record)

        @router.command("value")
        @effect
        async def _() -> Any:
            return value

        @router.command("fails")
        @effect
        async def _() -> None:
            raise LookupError(message)

        @router.streaming("items")
        @stream
        async def _() -> AsyncIterator[int]:
            for each in range(number):
                yield each

        return router

    record = rpc.Record(tmp_path / "r")
    await both(changed({"a": 1, "b": 2}, 3, "a", record), ("value", ()), ("fails", ()), ("items", ()))
    assert await rpc.replay(tmp_path / "r", changed({"b": 2, "a": 1}, 3, "a")) == []
    found = await rpc.replay(tmp_path / "r", changed({"a": 1, "b": True}, 4, "b"))
    assert [(each.request.name, each.then, each.now) for each in found] == [
        ("value", rpc.Outcome({"a": 1, "b": 2}), rpc.Outcome({"a": 1, "b": True})),
        (
            "fails",
            rpc.Outcome(error={"code": -32010, "message": "a", "data": {"type": "LookupError"}}),
            rpc.Outcome(error={"code": -32010, "message": "b", "data": {"type": "LookupError"}}),
        ),
        ("items", rpc.Outcome(3), rpc.Outcome(4)),
    ]
    assert len(await rpc.replay(tmp_path / "r", changed({"a": 1.0, "b": 2}, 3, "a"))) == 1
    assert [each.now.error for each in await rpc.replay(tmp_path / "r", rpc.Router())] == [
        {"code": -32601, "message": f"there is no command {name!r}"} for name in ("value", "fails", "items")
    ]


async def test_requests_over_a_connection(tmp_path: Path) -> None:
    record = rpc.Record(tmp_path / "r")
    log = Log()
    router = small(log, record=record)
    async with served(router, f"unix:{tmp_path / 's'}"), calling(tmp_path / "s") as caller:
        caller.notify("note", ["hello"])
        caller.request(1, "add", {"a": 1})
        assert (await caller.receive())["result"] == 3
        for name in ("none", "fail"):
            caller.request(2, name)
            assert "error" in await caller.receive()
        caller.request(3, "wait", ["x"])
        while log.said[-1:] != ["x begins"]:
            await asyncio.sleep(0)
        caller.notify("$/cancelRequest", {"id": 3})
        assert (await caller.receive())["error"]["code"] == -32800
        caller.request(4, "count", [2])
        while (await caller.receive()).get("id") != 4:
            pass
    seen: list[rpc.Recorded] = []
    assert await rpc.replay(tmp_path / "r", router, only=seen.append) == []
    assert [(each.name, each.outcome and (each.outcome.error or {}).get("code")) for each in seen] == [
        ("note", None),
        ("add", None),
        ("none", -32601),
        ("fail", -32010),
        ("wait", -32800),
        ("count", None),
    ]
    assert all(each.caller for each in seen)
    assert await rpc.replay(tmp_path / "r", router) == []  # a cancelled request is not run: it would wait for ever
    assert log.said.count("x begins") == 1
    log.release.set()
    [differs] = await rpc.replay(tmp_path / "r", router, only=lambda each: each.name == "wait")
    assert differs.now == rpc.Outcome("x")


@pytest.mark.parametrize(("pace", "seconds"), [(None, 0), (1, 30), (10, 3)])
async def test_order_and_pace(tmp_path: Path, virtual_clock: VirtualClock, pace: float | None, seconds: float) -> None:
    log = Log()
    router = small(log, record=rpc.Record(tmp_path / "r"))
    for number in range(4):
        await router.call("note", [str(number)])
        await virtual_clock.advance(10)
    log.said.clear()
    begin = virtual_clock.time()
    assert await rpc.replay(tmp_path / "r", router, pace=pace) == []
    assert log.said == ["0", "1", "2", "3"]
    assert virtual_clock.time() - begin == pytest.approx(seconds, abs=0.001)


async def test_the_older_half_goes(tmp_path: Path) -> None:
    record = rpc.Record(tmp_path / "r", most=10_000)
    router = small(Log(), record=record)
    for number in range(300):
        await router.call("echo", [number])
    record.flush()
    sizes = [(tmp_path / name).stat().st_size for name in ("r", "r.1")]
    assert max(sizes) <= 5000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r.1"]
    seen: list[rpc.Recorded] = []
    await rpc.replay(tmp_path / "r", router, only=seen.append)
    assert [each.params[0] for each in seen] == list(range(300 - len(seen), 300))
    assert len(seen) > 10
    assert record.lost == 0


async def test_redaction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def hide(name: str, value: Any) -> Any:
        if name == "fail":
            raise ValueError("I am broken")
        return {"value": "***"} if isinstance(value, dict) else "***" if value == "secret" else value

    record = rpc.Record(tmp_path / "r", redact=hide)
    router = small(Log(), record=record)
    await both(router, ("echo", {"value": "secret"}), ("fail", {"message": "secret"}), ("fail", {"message": "secret"}))
    record.flush()
    assert "secret" not in (tmp_path / "r").read_text()
    assert [each.get("params", each.get("result")) for each in lines(tmp_path / "r")] == [{"value": "***"}, "***"]
    assert record.lost == 4  # the requests and the outcomes
    assert [each.getMessage().partition(": ")[2] for each in caplog.records] == [
        "ValueError: I am broken; what else is lost is only counted"
    ]
    assert await rpc.replay(tmp_path / "r", router, redact=hide) == []


async def test_a_slow_disk_delays_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def slow(_: str, value: Any) -> Any:
        assert goes_on.wait(60)
        return value

    monkeypatch.setattr(_record, "_WAITING", 10_000)
    record = rpc.Record(tmp_path / "r", redact=slow)
    router = small(Log(), record=record)
    for number in range(100):
        assert await router.call("echo", [number]) == number
    assert record.lost > 100
    goes_on.set()
    record.flush()
    assert len(lines(tmp_path / "r")) == 200 - record.lost


async def test_large_values(tmp_path: Path) -> None:
    record = rpc.Record(tmp_path / "r")

    def blank(by: str, record: rpc.Record | None = None) -> rpc.Router:
        router = rpc.Router(record=record)

        @router.command("blank")
        @effect
        async def _(of: str | int) -> str:
            return by * (of if isinstance(of, int) else len(of))

        return router

    router = blank("x", record)
    await router.call("blank", [2 << 20])
    await router.call("blank", ["y" * (2 << 20)])
    record.flush()
    assert (tmp_path / "r").stat().st_size < 1000
    assert record.lost == 1  # the parameters
    assert lines(tmp_path / "r")[1]["size"] == (2 << 20) + 2
    assert await rpc.replay(tmp_path / "r", router) == []
    [differs] = await rpc.replay(tmp_path / "r", blank("z"))
    assert differs.then is not None
    assert differs.then.sha256 != differs.now.sha256


async def test_hostile_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "r"
    router = small(Log(), record=rpc.Record(path))
    await router.call("add", [1])
    assert await rpc.replay(path, router) == []
    good = path.read_bytes()
    bad = [
        b"no JSON",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"id":1}',
        b'{"id":"1","name":"add","at":"now"}',
        b"[" * 100_000,
        b'{"id":"\\ud800"}',
        b"x" * (5 << 20),
        b'{"id":"9","took":1,"result":9}',
    ]
    path.write_bytes(b"\n".join([*bad, good, b"\n", *bad, b'{"id":"torn","name":"add","par']))
    seen: list[rpc.Recorded] = []
    await rpc.replay(path, router, only=seen.append)
    assert [(each.name, each.params, each.outcome) for each in seen] == [("add", [1], rpc.Outcome(3))]
    assert "19 lines that are no records" in caplog.text
    await router.call("add", [2])  # after the torn line, in one of its own
    assert len(await rpc.replay(path, router, only=lambda each: each.params == [2])) == 0
    assert json.loads(path.read_bytes().splitlines()[-1])["result"] == 4
    with pytest.raises(FileNotFoundError):
        await rpc.replay(tmp_path / "none", router)


PROGRAM = """
import asyncio, logging, os, resource, sys
from mountain_runtime import effect, rpc
record = rpc.Record(sys.argv[1])
router = rpc.Router(record=record)

@router.command("echo")
@effect
async def echo(value: str) -> str:
    return value

async def main() -> None:
"""


def program(path: Path, body: str) -> "subprocess.CompletedProcess[str]":
    code = PROGRAM + textwrap.indent(textwrap.dedent(body), "    ") + "\nasyncio.run(main())\n"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)


async def test_a_full_disk_fails_no_request(tmp_path: Path) -> None:
    path = tmp_path / "r"
    done = program(
        path,
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        for _ in range(100):
            assert await router.call("echo", ["x" * 100]) == "x" * 100
        record.flush()
        print(record.lost)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not all is recorded to") == 1
    whole = path.read_bytes()
    assert len(whole) <= 5000
    assert whole == b"" or whole.endswith(b"\n")
    assert int(done.stdout) == 200 - len(lines(path))
    assert int(done.stdout) > 100


async def test_a_kill_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r"
    done = program(
        path,
        """
        def kills():
            import time
            while not os.path.exists(sys.argv[1]) or os.path.getsize(sys.argv[1]) < 100_000:
                time.sleep(0.001)  # real: the writer is a thread
            os.kill(os.getpid(), 9)
        import threading
        threading.Thread(target=kills).start()
        while True:
            await router.call("echo", ["x" * 1000])
        """,
    )
    assert done.returncode == -9, done.stderr
    size = path.stat().st_size
    with path.open("ab") as file:
        file.truncate(size - 5)  # and torn, as a kill in mid-write leaves it
    seen: list[rpc.Recorded] = []
    await rpc.replay(path, small(Log()), only=seen.append)
    assert len(seen) >= 40
    assert all(each.params == ["x" * 1000] for each in seen)
    assert await rpc.replay(path, small(Log())) == []


async def test_the_end_of_a_program_waits_for_its_lines(tmp_path: Path) -> None:
    done = program(tmp_path / "r", "for n in range(1000): await router.call('echo', [str(n)])")
    assert done.returncode == 0, done.stderr
    assert len(lines(tmp_path / "r")) == 2000


async def test_a_path_that_cannot_be_written_fails_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (tmp_path, tmp_path / "none" / "r", Path("/dev/full")):
        record = rpc.Record(path)
        assert await small(Log(), record=record).call("add", [1]) == 3
        record.flush()
        assert record.lost == 2
        # Threads of other tests' records may log meanwhile.
        assert len([each for each in caplog.messages if f"recorded to {path}:" in each]) == 1
    assert Path("/dev/full").is_char_device()


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    wrong: list[Any] = [
        lambda: rpc.Record(""),
        lambda: rpc.Record(tmp_path, most=10),
        lambda: rpc.Record(tmp_path, redact=3),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: rpc.Router(record="path"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        lambda: rpc.replay(tmp_path, rpc.Router(), pace=0),
        lambda: rpc.replay(tmp_path, "router"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ]
    for each in wrong:
        with pytest.raises(ConfigError):
            each()
