"""serve: errors, cancels, notifications, limits, callers that go, and the end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mountain_runtime import ConcurrencyLimit, Priority, RateLimit, Runtime, Shutdown, effect, rpc
from tests.rpc.support import Log, calling, served, small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)  # bytes travel by the system, in real time


async def test_each_failure_has_its_code(path: Path) -> None:
    log = Log()
    limit = RateLimit(1, per=60, max_wait=0, key=rpc.caller)
    router = small(log)

    @router.command("limited")
    @effect(limit)
    async def limited(a: int = 0) -> None: ...

    @router.command("odd")
    @effect
    async def odd() -> object:
        return object()

    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.request(1, "limited")
        assert "result" in await caller.receive()
        caller.request(2, "limited", {"a": 2})
        error = (await caller.receive())["error"]
        assert (error["code"], error["data"]["type"]) == (-32011, "RateLimited")
        assert 0 < error["data"]["retry_after"] <= 60
        caller.request(3, "slow")
        error = (await caller.receive())["error"]
        assert (error["code"], error["data"]) == (-32012, {"type": "TimedOut", "may_have_run": True})
        caller.request(4, "fail", ["secret of nobody"])
        assert (await caller.receive())["error"] == {
            "code": -32010,
            "message": "secret of nobody",
            "data": {"type": "LookupError"},
        }
        caller.request(5, "odd")
        error = (await caller.receive())["error"]
        assert (error["code"], error["data"]["type"]) == (-32010, "TypeError")
        caller.request(6, "add", ["x"])
        assert (await caller.receive())["error"]["code"] == -32602
        async with calling(path) as other:  # has a limit of its own
            other.request(1, "limited")
            assert "result" in await other.receive()


async def test_a_traceback_is_told_on_request_only(path: Path) -> None:
    async with served(small(Log(), tracebacks=True), f"unix:{path}"), calling(path) as caller:
        caller.request(1, "fail")
        assert "LookupError: no such thing" in (await caller.receive())["error"]["data"]["traceback"]


async def test_a_cancel_ends_a_request_and_awaits_its_cleanup(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request("1", "wait", ["text"])
        caller.request(1, "wait", ["number"])
        await until(lambda: len(log.said) == 2)
        caller.notify("$/cancelRequest", {"id": "1"})
        answer = await caller.receive()
        assert (answer["id"], answer["error"]["code"]) == ("1", -32800)
        assert log.said[2:] == ["text ends"]
        for nothing in ({"id": 7}, {"id": {}}, {}, {"id": "1"}, [1]):
            caller.notify("$/cancelRequest", nothing)
        caller.notify("$/unknown")
        log.release.set()
        assert await caller.receive() == {"jsonrpc": "2.0", "id": 1, "result": "number"}


async def test_cancels_at_any_moment(path: Path) -> None:
    """R2: before, during and after the answer, each request has one answer, and the loop lives."""
    log = Log()
    count = 10_000
    async with served(small(log), f"unix:{path}"), calling(path) as caller:

        async def send() -> None:
            for number in range(count):
                name, params = ("note", ["x", number % 7]) if number % 3 else ("wait", ["x"])
                if number % 5 == 0:
                    caller.notify("$/cancelRequest", {"id": number})
                caller.request(number, name, params)
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                caller.notify("$/cancelRequest", {"id": number})
                if number % 50 == 0:
                    await caller.writer.drain()
            caller.request("ping", "add", [1])

        sending = asyncio.create_task(send())
        answers = [await caller.receive() for _ in range(count + 1)]
        await sending
    assert sorted(str(each["id"]) for each in answers) == sorted([*map(str, range(count)), "ping"])
    assert all("result" in each or each["error"]["code"] == -32800 for each in answers)
    cancelled = sum("error" in each for each in answers)
    assert 1000 < cancelled < 9000, "the cancels were all too early, or all too late"


async def test_notifications_run_in_their_order_and_requests_side_by_side(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request("slow", "wait", ["w"])
        for number in range(200):
            caller.notify("note", [str(number), 5 - number % 5])
            caller.notify("fail")
        await until(lambda: len(log.said) == 201)
        assert log.said == ["w begins", *map(str, range(200))]
        caller.request(1, "add", [1])
        assert (await caller.receive())["id"] == 1


async def test_a_flood_of_notifications_waits_outside(path: Path) -> None:
    log = Log()
    router = small(log)
    seen = 0

    @router.command("hold")
    @effect
    async def hold() -> None:
        nonlocal seen
        seen += 1
        await log.release.wait()

    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.send({"jsonrpc": "2.0", "method": "hold"}, times=50_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.writer.drain(), 0.3)  # nothing more is read
        assert seen == 1
        log.release.set()
        caller.request(1, "add", [1])
        assert (await caller.receive())["result"] == 3
        await until(lambda: seen == 50_000)


async def test_so_many_run_at_once_and_the_rest_can_be_cancelled(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        for number in range(300):
            caller.request(number, "wait", [str(number)])
        await until(lambda: len(log.said) == 256)
        caller.notify("$/cancelRequest", {"id": 299})
        assert (await caller.receive())["id"] == 299
        log.release.set()
        answers = [await caller.receive() for _ in range(299)]
        assert {each["result"] for each in answers} == {str(number) for number in range(299)}


async def test_an_id_in_use_is_refused(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request(1, "wait", ["a"])
        caller.request(1, "add", [1])
        answer = await caller.receive()
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        caller.send(
            [{"jsonrpc": "2.0", "id": 1, "method": "add"}, {"jsonrpc": "2.0", "id": 2, "method": "add", "params": [1]}]
        )
        assert [each["id"] for each in await caller.receive()] == [None, 2]
        log.release.set()
        assert (await caller.receive())["result"] == "a"
        caller.request(1, "add", [1])
        assert (await caller.receive())["result"] == 3


async def test_callers_do_not_reach_each_other(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as one, calling(path) as two:
        one.request(1, "wait", ["one"])
        two.request(1, "wait", ["two"])
        await until(lambda: len(log.said) == 2)
        two.notify("$/cancelRequest", {"id": 1})
        assert (await two.receive())["error"]["code"] == -32800
        log.release.set()
        assert (await one.receive())["result"] == "one"
        one.request(2, "who")
        two.request(2, "who")
        assert (await one.receive())["result"] != (await two.receive())["result"]


async def test_a_caller_that_goes_has_its_effects_cancelled(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"):
        async with calling(path) as caller, calling(path) as other:
            caller.request(1, "wait", ["w"])
            other.request(1, "forever")
            await until(lambda: log.said and log.sent)
        await until(lambda: "w ends" in log.said and "forever ends" in log.said)


async def test_half_closed_callers_are_answered(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}"), calling(path) as caller:
        caller.request(1, "wait", ["w"])
        caller.writer.write_eof()
        await until(lambda: log.said)
        await asyncio.sleep(0.05)  # in which it must not be cancelled
        log.release.set()
        assert (await caller.receive())["result"] == "w"
        assert await caller.receive() is None


async def test_what_cannot_be_framed_is_said_and_ends_the_connection(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}", max_message=1000):
        for bad in (b"Content-Length: 1073741824\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"Content-Length: 5\r\n\r\n{"):
            async with calling(path) as caller:
                caller.request(1, "add", [1])
                caller.writer.write(bad)
                if bad.endswith(b"{"):
                    caller.writer.write_eof()
                answers = [await caller.receive(), await caller.receive()]
                assert sorted(str(each["id"]) for each in answers) == ["1", "None"]
                assert [each["error"]["code"] for each in answers if "error" in each] == [-32700]
                assert await caller.receive() is None


async def test_lines(path: Path) -> None:
    async with served(small(Log()), f"unix:{path}", framing="lines"), calling(path, "lines") as caller:
        caller.request(1, "echo", ["漢\n字"])
        assert (await caller.receive())["result"] == "漢\n字"


async def test_requests_say_their_priority_and_deadline(path: Path) -> None:
    log = Log()
    router = small(log)
    limit = ConcurrencyLimit(1)

    @router.command("go")
    @effect(limit)
    async def go(text: str) -> None:
        log.said.append(text)
        await log.release.wait()

    async with served(router, f"unix:{path}"), calling(path) as caller:
        caller.request(1, "go", ["first"])
        for level in ("low", "normal", "high"):
            caller.request(level, "go", [level], **{"$meta": {"priority": level}})
        caller.request("late", "go", ["late"], **{"$meta": {"deadline": 0.05}})
        answer = await caller.receive()
        assert (answer["id"], answer["error"]["code"]) == ("late", -32012)
        log.release.set()
        for _ in range(4):
            await caller.receive()
        assert log.said == ["first", "high", "normal", "low"]
        for bad in ({"priority": "huge"}, {"deadline": -1}, {"deadline": "soon"}, {"window": 0}, []):
            caller.request(9, "go", ["x"], **{"$meta": bad})
            assert (await caller.receive())["error"]["code"] == -32600
    assert Priority.HIGH > Priority.LOW


async def test_the_shutdown_answers_what_is_in_flight_and_refuses_the_rest(path: Path) -> None:
    log = Log()
    async with Runtime(shutdown=Shutdown(deadline=30)) as rt:
        task = asyncio.create_task(small(log).serve(f"unix:{path}"))
        await until(path.exists)
        async with calling(path) as caller:
            for number in range(257):
                caller.request(number, "wait", ["w"])
            caller.request("s", "forever")
            await until(lambda: len(log.said) == 256)
            closing = rt._begin_close(drain=True)
            answer = await caller.receive()
            caller.request("new", "add", [1])
            answers = [answer, await caller.receive(), await caller.receive()]
            assert sorted(str(each["id"]) for each in answers) == ["256", "new", "s"]
            assert {each["error"]["code"] for each in answers} == {-32013}
            assert all(each["error"]["data"]["may_have_run"] is False for each in answers)
            assert not path.exists()
            log.release.set()
            assert sorted([(await caller.receive())["id"] for _ in range(256)]) == list(range(256))
            assert await caller.receive() is None
        await task
        await closing


async def test_a_cancelled_serve_awaits_cleanup_and_says_so(path: Path) -> None:
    log = Log()
    async with served(small(log), f"unix:{path}") as task, calling(path) as caller:
        caller.request(1, "wait", ["w"])
        await until(lambda: log.said)
        task.cancel()
        answer = await caller.receive()
        assert answer["error"]["code"] == -32013
        assert answer["error"]["data"]["may_have_run"] is True
        assert log.said == ["w begins", "w ends"]
        assert await caller.receive() is None


async def test_an_exit_of_a_command_ends_serve(path: Path) -> None:
    router = small(log := Log())

    @router.command("quit")
    @effect
    async def leave() -> None:
        raise SystemExit(3)

    async def serve() -> object:
        try:
            await router.serve(f"unix:{path}")
        except SystemExit as error:
            return error.code
        return None

    task = asyncio.create_task(serve())
    await until(path.exists)
    async with calling(path) as caller:
        caller.request(1, "wait", ["w"])
        await until(lambda: log.said)
        caller.request(2, "quit")
        assert {(await caller.receive())["id"], (await caller.receive())["id"]} == {1, 2}
    assert await task == 3
