"""FastAPI under uvicorn: effects as handlers, dependencies and background work, and the runtime of a lifespan."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from .support import Server, quiet, serving, until, uvicorn

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all tests that do not end it. It complains of nothing, and ends as uvicorn ends any application."""
    with serving(*uvicorn("orders:app")) as server:
        yield server
        code, output, said = server.end(signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert json.loads(output)["ok"]
    assert "Application shutdown complete" in quiet(said)


def events(server: Server) -> list[str]:
    found: list[str] = server.get("/events").json()
    return found


def test_an_effect_is_a_dependency_with_its_parameters(server: Server) -> None:
    assert server.get("/pages/ada").json() == {"name": "ADA", "between": [0, 10]}
    assert server.get("/pages/ada?start=5&limit=2").json() == {"name": "ADA", "between": [5, 7]}
    wrong = server.get("/pages/ada?limit=101")
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["query", "limit"]
    documented = server.get("/openapi.json").json()["paths"]["/pages/{name}"]["get"]["parameters"]
    assert {(each["name"], each["in"]) for each in documented} == {
        ("name", "path"),
        ("limit", "query"),
        ("start", "query"),
    }
    assert server.get("/greeting?who=ada").json() == "hello ada"  # a method: without its self


def test_an_effect_is_a_handler(server: Server) -> None:
    assert server.get("/effects/7").json() == {"number": 7, "path": "/effects/7"}
    assert server.get("/effects/seven").status_code == 422
    assert server.get("/blocking/7").json() == 8


def test_errors_are_statuses_by_one_handler_a_kind(server: Server) -> None:
    late = server.get("/late")
    assert late.status_code == 504
    assert "Timeout(0.05)" in late.json()["detail"]
    assert "never ended" in events(server)  # the work was ended before the answer was given
    with ThreadPoolExecutor(2) as both:
        answers = sorted(both.map(server.get, ["/exclusive"] * 2), key=lambda answer: answer.status_code)
    assert [(each.status_code, each.json()) for each in answers] == [(200, "mine"), (503, {"detail": "QueueFull"})]
    refused = server.get("/upstream")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")


def test_handlers_find_the_runtime_of_the_lifespan(server: Server) -> None:
    """By their loop: the context variable that a lifespan sets does not reach them. It has two threads of its own."""
    assert len(set(server.get("/threads").json())) == 2


def test_submitted_work_goes_on_after_the_answer(server: Server) -> None:
    assert server.post("/orders/one?seconds=1").status_code == 202
    assert "delivered one" not in events(server)
    until(lambda: "delivered one" in events(server))


def test_background_tasks_take_effects(server: Server) -> None:
    assert server.post("/letters/two").status_code == 200
    until(lambda: "noted two" in events(server))  # the second begins when the first has ended
    assert "delivered two" in events(server)


def test_a_stream_of_amap(server: Server) -> None:
    assert server.get("/squares/5").text.splitlines() == ["0 0", "1 1", "2 4", "3 9", "4 16"]
    assert "squares 5 ended" in events(server)


def test_a_client_that_leaves_a_stream_ends_its_work(server: Server) -> None:
    with httpx.stream("GET", f"{server.url}/squares/1000000") as answer:
        assert next(answer.iter_lines()) == "0 0"
    until(lambda: "squares 1000000 ended" in events(server))
    assert server.get("/flying").json() == []


def test_a_client_that_leaves_a_plain_handler_does_not_end_it(server: Server) -> None:
    """So it is under uvicorn: a handler hears of it by `await request.is_disconnected()` only."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/patient", timeout=0.1)
    until(lambda: "delivered patient" in events(server))


def test_a_websocket_awaits_effects(server: Server) -> None:
    with connect(f"{server.url}/socket".replace("http", "ws")) as socket:
        for number in range(5):
            socket.send(str(number))
        assert [socket.recv() for _ in range(5)] == ["0", "1", "4", "9", "16"]
    until(lambda: "socket left" in events(server))


# -- the end --------------------------------------------------------------------------------------------------------


def under_load(server: Server, *signals: signal.Signals) -> list[int]:
    """The answered requests of those that twenty clients make until the port is closed."""
    answered: list[int] = []

    async def client(http: httpx.AsyncClient, number: int) -> None:
        for again in range(number, 1_000_000, 100):
            try:
                answer = await http.get(f"{server.url}/jobs/{again}")
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            answered.append(answer.json())

    async def main() -> None:
        async with httpx.AsyncClient(timeout=30) as http, asyncio.TaskGroup() as clients:
            for number in range(20):
                clients.create_task(client(http, number))
            while len(answered) < 60:
                await asyncio.sleep(0.01)
            for number in signals:
                server.process.send_signal(number)

    asyncio.run(main())
    return answered


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_no_request_and_no_submitted_work(number: signal.Signals) -> None:
    with serving(*uvicorn("orders:app")) as server:
        answered = under_load(server, number)
        code, output, said = server.end()
    assert code == (-signal.SIGTERM if number == signal.SIGTERM else 0)  # as uvicorn's command ends
    quiet(said)
    told = json.loads(output)
    assert sorted(told["begun"]) == sorted(answered)
    delivered = Counter(each for each in told["events"] if each != "closed")
    assert delivered == Counter(f"delivered {each}" for each in answered)
    assert told["events"][-1] == "closed"  # the runtime waited for what was submitted
    assert told["ok"]


def test_what_outlives_uvicorns_patience_is_cancelled_and_cleans_up_before_the_runtime_is_closed() -> None:
    """uvicorn does not wait for what it has cancelled; the runtime waits for what was submitted to it."""
    with serving(*uvicorn("orders:app", "--timeout-graceful-shutdown", "1")) as server:
        with ThreadPoolExecutor(1) as beside, httpx.stream("GET", f"{server.url}/squares/1000000") as answer:
            careful = beside.submit(server.get, "/careful")
            lines = answer.iter_lines()
            assert next(lines) == "0 0"
            until(lambda: "careful begun" in events(server))
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
            assert careful.exception() or careful.result().status_code == 500
        code, output, said = server.end()
    assert code == -signal.SIGTERM
    # uvicorn logs each with its traceback; there is no other.
    assert said.count("Traceback") == said.count("CancelledError: Task cancelled, timeout graceful shutdown") == 2
    told = json.loads(output)
    assert told["ok"]
    assert "squares 1000000 ended" in told["events"]
    assert told["events"].index("cleaned up") < told["events"].index("closed")
