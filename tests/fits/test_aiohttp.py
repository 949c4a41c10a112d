"""aiohttp by `web.run_app`: a runtime in the cleanup context, effects as handlers, clients that leave, the end."""

import asyncio
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest

from .support import Server, quiet, serving, until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all tests that do not end it. It complains of nothing, and ends as aiohttp ends any application."""
    with serving("counters.py") as server:
        yield server
        code, output, said = server.end(signal.SIGTERM)
    assert code == 0
    assert json.loads(output.splitlines()[-1])["ok"]
    quiet(said)


def events(server: Server) -> list[str]:
    found: list[str] = server.get("/events").json()
    return found


def test_an_effect_is_a_handler_and_a_views_method(server: Server) -> None:
    assert server.get("/effect/21").json() == [42, "both"]
    assert server.get("/view").text == "view"


def test_errors_are_statuses_by_one_middleware(server: Server) -> None:
    late = server.get("/late")
    assert late.status_code == 504
    assert "Timeout(0.05)" in late.json()["detail"]
    with ThreadPoolExecutor(2) as both:
        answers = sorted(answer.status_code for answer in both.map(server.get, ["/exclusive"] * 2))
    assert answers == [200, 503]


def test_a_client_that_leaves(server: Server) -> None:
    """A handler that writes to it ends; a plain handler goes on, as aiohttp has it since 3.7."""

    async def leave(path: str) -> None:
        async with aiohttp.ClientSession(server.url) as session:
            async with asyncio.timeout(10), session.get(path) as answer:
                await answer.content.readline()

    asyncio.run(leave("/stream/1000000"))
    until(lambda: "stream 1000000 ended" in events(server))
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(leave("/patient"), 0.1))
    assert "patient" not in events(server)
    until(lambda: "patient" in events(server))


def test_a_stream_and_a_websocket(server: Server) -> None:
    assert server.get("/stream/5").text.split() == ["0", "1", "2", "3", "4"]

    async def main() -> list[str]:
        async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/socket") as socket:
            for number in range(5):
                await socket.send_str(str(number))
            return [await socket.receive_str() for _ in range(5)]

    assert asyncio.run(main()) == ["0", "2", "4", "6", "8"]
    until(lambda: "socket left" in events(server))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_no_request_and_no_submitted_work(number: signal.Signals) -> None:
    answered: list[int] = []

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        for again in range(number, 1_000_000, 100):
            try:
                async with session.get(f"/jobs/{again}") as answer:
                    assert answer.status == 200, await answer.text()
                    answered.append(await answer.json() // 2)
            except aiohttp.ClientConnectionError:
                return

    async def main() -> None:
        async with aiohttp.ClientSession(server.url) as session, asyncio.TaskGroup() as clients:
            for each in range(20):
                clients.create_task(client(session, each))
            while len(answered) < 60:
                await asyncio.sleep(0.01)
            server.process.send_signal(number)

    with serving("counters.py") as server:
        asyncio.run(main())
        code, output, said = server.end()
    assert code == 0
    quiet(said)
    told = json.loads(output.splitlines()[-1])
    assert sorted(told["begun"]) == sorted(answered)
    assert sorted(told["events"][:-1]) == sorted(f"delivered {each}" for each in answered)
    assert (told["events"][-1], told["ok"]) == ("closed", True)  # the runtime waited for what was submitted
