"""Both ends hold against the other: floods both ways, callers that go unseen, answers and errors that are none."""

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import effect, errors, rpc
from mountain_runtime.errors import PeerError, RateLimited, Rejected
from mountain_runtime.rpc._sessions import calls as _calls
from tests.rpc.support import Log, calling, served, small
from tests.rpc.test_serve import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@contextlib.asynccontextmanager
async def answering(
    path: Path, answers: Callable[[Any], list[bytes]], router: rpc.Router | None = None
) -> AsyncIterator[rpc.Peer]:
    """A peer that answers each message with bodies of any kind."""
    over = asyncio.Event()

    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                message = json.loads(await reader.readexactly(int(head.split(b":")[1])))
                for body in answers(message):
                    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async with await asyncio.start_unix_server(talks, path):
        async with rpc.connect(f"unix:{path}", router=router) as peer:
            yield peer
        await over.wait()


async def test_large_requests_and_answers_pass_each_other(path: Path) -> None:
    """More than both ends and the system between them hold: each reads on while the other does not."""
    text = "x" * 300_000
    async with asyncio.timeout(60), served(small(Log()), f"unix:{path}"), rpc.connect(f"unix:{path}") as peer:
        found = await asyncio.gather(*(peer.call("echo", [text]) for _ in range(40)))
    assert found == [text] * 40


async def test_answers_are_read_behind_a_flood_of_notifications(path: Path) -> None:
    """The first of them waits for an answer that comes behind them all."""
    router, heard = rpc.Router(), [0]
    peers: list[rpc.Peer] = []

    @router.command("hear")
    @effect
    async def hear() -> None:
        if not heard[0]:
            assert await peers[0].call("late") == 1
        heard[0] += 1

    def answers(message: Any) -> list[bytes]:
        notified = b'{"jsonrpc":"2.0","method":"hear"}'
        if message.get("method") != "late":
            return [notified]
        return [*([notified] * 9000), b'{"jsonrpc":"2.0","id":%d,"result":1}' % message["id"]]

    async with answering(path, answers, router) as peer:
        peers.append(peer)
        await peer.notify("begin")
        await until(lambda: heard[0] == 9001)


@pytest.mark.parametrize("flood", [True, False])
async def test_a_caller_that_is_not_read_is_seen_to_go(path: Path, flood: bool) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"):
        async with calling(path) as caller:
            for number in range(4096 + 256 + 100 if flood else 1):
                caller.request(number, "wait", ["x"])
            if not flood:
                caller.writer.write(b"no header\r\n\r\n")
            await until(lambda: len(log.said) == (256 if flood else 1))
        await until(lambda: log.said.count("x ends") == (256 if flood else 1))


HUGE = b"1" + b"0" * 400
ERRORS: list[tuple[bytes, type[Exception]]] = [
    (b'"error":null', PeerError),
    (b'"error":7', PeerError),
    (b'"error":{"code":true,"message":"x"}', PeerError),
    (b'"error":{"code":"x","message":[]}', PeerError),
    (b'"error":{"code":1%b,"message":"x"}' % HUGE, PeerError),
    (b'"error":{"code":-32011,"message":"m","data":{"type":["x"]}}', PeerError),
    (b'"error":{"code":-32011,"message":"m","data":{"type":"PeerError"}}', Rejected),
    (b'"error":{"code":-32011,"message":"m","data":{"type":"RateLimited","retry_after":%b}}' % HUGE, RateLimited),
    (b'"error":{"code":-32010,"message":"\\ud800"}', PeerError),
    (b'"error":{"code":-32010,"message":"\xff"}', PeerError),
    (b'"result":"\xff"', PeerError),
    (b'"result":"\\ud800"', PeerError),
    (b'"result":tru', PeerError),
    (b'"result":1e999', PeerError),
    (b'"result":%b' % (b"[" * 100_000 + b"]" * 100_000), PeerError),
]


@pytest.mark.parametrize(("said", "kind"), ERRORS, ids=range(len(ERRORS)))
async def test_an_answer_of_any_kind_ends_its_call(path: Path, said: bytes, kind: type[Exception]) -> None:
    def answers(message: Any) -> list[bytes]:
        body = b'{"jsonrpc":"2.0","id":%d,%b}' % ((message.get("id") or 0), said)
        last = b'{"jsonrpc":"2.0","id":%d,"result":1}' % (message.get("id") or 0)
        return [body, body, last] if message.get("method") == "odd" else [last]

    async with asyncio.timeout(60), answering(path, answers) as peer:
        with pytest.raises(kind) as found:
            await peer.call("odd")
        assert type(found.value) is kind
        assert await peer.call("even") == 1


async def test_an_error_of_a_notification_is_one_line_of_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(small(Log()), f"unix:{path}"), calling(path) as caller:
        caller.notify("fail", ["a\nforged" + "x" * 5000])
        await until(lambda: "forged" in caplog.text)
    (said,) = (each.getMessage() for each in caplog.records if "forged" in each.getMessage())
    assert "\n" not in said
    assert len(said) < 1200


async def test_items_that_are_not_read_are_not_kept_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_calls, "_KEPT", 1000)

    def answers(message: Any) -> list[bytes]:
        progress = b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":[%b1]}}' % (b"1," * 99)
        return [progress] * 50 + [b'{"jsonrpc":"2.0","id":7,"result":1}']

    async with answering(path, answers) as peer:
        async with peer.stream("flood") as items:
            assert await anext(items) == 1
            calls: Any = peer._end._calls
            (call,) = calls._calls.values()
            await until(call.future.done)
            await asyncio.sleep(0.05)  # for what still comes, in real time
            assert len(call.items) <= 1100
            with pytest.raises(PeerError, match="knows no window"):
                async for _ in items:
                    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise LookupError


class Odd(errors.Rejected):
    @property
    def retry_after(self) -> float:
        raise LookupError


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [Mute(), Odd("x"), ExceptionGroup("many", [Mute()])], ids=lambda each: type(each).__name__
)
async def test_an_error_whose_own_code_fails_is_an_answer(path: Path, error: Exception) -> None:
    router = small(Log(), tracebacks=True)

    @router.command("raises")
    @effect
    async def raises() -> None:
        raise error

    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.request(1, "raises")
        found = (await caller.receive())["error"]
        assert (found["code"], found["data"]["type"]) == (-32010, type(error).__name__)
        caller.request(2, "add", [1])
        assert (await caller.receive())["result"] == 3


async def test_a_base_exception_is_an_answer_and_the_loop_reports_it(path: Path) -> None:
    router = small(Log())

    @router.command("raises")
    @effect
    async def raises() -> None:
        raise Own("base")

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.request(1, "raises")
        found = (await caller.receive())["error"]
        assert (found["code"], found["message"], found["data"]) == (-32010, "base", {"type": "Own"})
        await until(lambda: gc.collect() >= 0 and [type(each) for each in reported] == [Own])
