"""Starlette under uvicorn and in its test client: states of a lifespan, middleware, clients that leave, and the end."""

import json
import signal
import threading
import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from websockets.sync.client import connect

from mountain_runtime import Runtime, blocking, effect, fs

from .support import Server, quiet, serving, until, uvicorn

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all tests that do not end it. It complains of nothing, and ends as uvicorn ends any application."""
    with serving(*uvicorn("letters:app")) as server:
        yield server
        server.post("/submitted")
        code, output, said = server.end(signal.SIGTERM)
    assert code == -signal.SIGTERM
    quiet(said)
    told = json.loads(output)
    assert told["events"][-2:] == ["submitted slept", "closed"]
    assert told["report"]["ok"]


def events(server: Server) -> list[str]:
    found: list[str] = server.get("/events").json()
    return found


def test_an_effect_runs_under_both_kinds_of_endpoint_and_middleware(server: Server) -> None:
    answer = server.get("/plain")
    assert (answer.text, answer.headers["X-Nap"]) == ("plain", "middleware")
    assert server.get("/box").text == "box"
    late = server.get("/late")
    assert late.status_code == 504
    assert "Timeout(0.05)" in late.json()["detail"]


def test_scopes_of_anyio_see_an_effect_as_a_coroutine(server: Server) -> None:
    assert server.get("/scoped").json() == {"cancelled": True, "thread": 4}
    assert {"scoped cancelled", "grouped slept"} <= set(events(server))


def test_an_effect_is_a_background_task(server: Server) -> None:
    assert server.post("/later").status_code == 202
    until(lambda: "later slept" in events(server))


def test_a_client_that_leaves_a_stream_cancels_its_effect(server: Server) -> None:
    with httpx.stream("GET", f"{server.url}/ticks") as answer:
        assert next(answer.iter_lines()) == "tick"
    until(lambda: "ticks ended" in events(server))


def test_a_client_that_leaves_a_websocket_cancels_what_works_beside_it(server: Server) -> None:
    with connect(f"{server.url}/socket".replace("http", "ws")) as socket:
        assert socket.recv() == "working"
    until(lambda: "socket cancelled" in events(server))


def test_an_endpoint_that_is_an_effect_itself_is_an_error() -> None:
    """To Starlette what is no function of Python's is an ASGI application. FastAPI takes it."""
    with serving(*uvicorn("letters:app")) as server:
        assert server.get("/effect").status_code == 500
        _, _, said = server.end(signal.SIGTERM)
    assert "TypeError: nap() takes 2 positional arguments but 3 were given" in said


# -- its test client ------------------------------------------------------------------------------------------------


def make_app() -> Starlette:
    @blocking
    def thread() -> str:
        return threading.current_thread().name

    @effect
    async def both() -> tuple[str, int]:
        return await thread(), (await fs.stat("/")).size

    async def endpoint(request: Request) -> Response:
        name, _ = await both()
        return JSONResponse({"thread": name, "stopping": request.app.state.rt.stopping()})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with Runtime(threads=1) as app.state.rt:
            yield

    return Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)


@pytest.fixture
def test_client() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have the next generation of httpx
        from starlette.testclient import TestClient
    return TestClient


@pytest.mark.parametrize("backend", [{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_its_test_client_runs_the_lifespan(test_client: Any, backend: dict[str, bool], complaints: list[str]) -> None:
    app = make_app()
    for _ in range(2):  # a runtime and a loop each
        with test_client(app, backend_options=backend) as client:
            answers = [client.get("/").json() for _ in range(5)]
        assert answers == [{"thread": answers[0]["thread"], "stopping": False}] * 5
        assert app.state.rt.report.ok
    assert complaints == []


def test_without_its_lifespan_each_request_has_a_loop_of_its_own(test_client: Any, complaints: list[str]) -> None:
    app = make_app()
    app.state.rt = Runtime()  # never entered
    client = test_client(app)
    for _ in range(5):
        assert client.get("/").status_code == 200
    assert complaints == []
