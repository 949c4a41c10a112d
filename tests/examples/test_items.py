"""A shop's items by FastAPI under uvicorn: what is cached, what is open, and no request lost at the end."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.examples import servers
from tests.examples.support import PROGRAMS
from tests.fits.support import Server, quiet, serving, uvicorn

pytestmark = pytest.mark.processes


class Shop:
    """https://prices.example and https://similar.example."""

    def __init__(self) -> None:
        self.down = False
        self.pause = 0.0

    def answer(self, asked: servers.Asked) -> servers.Answer:
        time.sleep(self.pause)  # a server that takes its time
        if asked.host == "similar.example":
            return json.dumps([f"like{asked.path.replace('/', ' ')}"])
        return 500 if self.down else "12.5"


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def world(shop: Shop) -> Iterator[servers.Server]:
    with servers.serving(shop.answer) as world:
        yield world


@pytest.fixture
def server(world: servers.Server) -> Iterator[Server]:
    hosts = {"prices.example": world.server_port, "similar.example": world.server_port}
    with serving(*uvicorn("items:app"), cwd=PROGRAMS, hosts=hosts) as server:
        yield server


def test_it_answers_and_asks_as_little_as_it_can(world: servers.Server, shop: Shop, server: Server) -> None:
    expected = {"sku": "a1", "price": 12.5, "similar": ["like a1"]}
    for _ in range(2):
        assert server.get("/items/a1").json() == expected
    assert server.get("/items/a1/pdf").json() == "a1: 12.5"
    assert [each.path for each in world.by_host("prices.example")] == ["/a1"]  # the rest came from the cache
    assert [each.path for each in world.by_host("similar.example")] == ["/a1", "/a1"]

    assert server.post("/items/a1/changed").json() is None
    assert server.get("/items/a1").json() == expected
    assert len(world.by_host("prices.example")) == 2
    assert server.get("/readyz").json() == {"prices": "closed"}
    # A parameter of an effect that a handler depends on is the endpoint's own.
    parameters = server.get("/openapi.json").json()["paths"]["/items/{sku}"]["get"]["parameters"]
    assert [(each["name"], each["in"]) for each in parameters] == [("sku", "path")]

    code, _, said = server.end(signal.SIGTERM)
    assert code == -signal.SIGTERM  # as uvicorn ends any application
    assert "Application shutdown complete" in quiet(said)


def test_an_open_breaker_is_a_503_and_does_not_ask(world: servers.Server, shop: Shop, server: Server) -> None:
    assert server.get("/items/known").status_code == 200
    shop.down = True
    answers = [server.get(f"/items/{number}").status_code for number in range(25)]
    # A half of twenty calls, the good one among them, is what it takes; the errors before that are the program's own.
    failed = answers.index(503)
    assert answers == [500] * failed + [503] * (25 - failed)
    assert failed == 19
    asked = len(world.by_host("prices.example"))
    refused = server.get("/items/another")
    assert refused.status_code == 503
    assert "prices" in refused.json()["detail"]
    assert server.get("/readyz").json() == {"prices": "open"}
    assert server.get("/items/known").json()["price"] == 12.5  # a known item needs no request
    assert len(world.by_host("prices.example")) == asked
    _, _, said = server.end(signal.SIGTERM)
    assert said.count("httpx.HTTPStatusError: Server error '500 ") == failed


def test_sigterm_under_load_loses_no_request(world: servers.Server, shop: Shop, server: Server) -> None:
    shop.pause = 0.1  # a request that is on its way when the signal comes stays there for a while
    answered: list[int] = []

    async def customer(client: httpx.AsyncClient, number: int) -> None:
        for again in range(1000):
            try:
                answer = await client.get(f"{server.url}/items/{number}-{again}")
            except httpx.TransportError:  # the port is closed
                return
            answered.append(answer.status_code)

    async def main() -> None:
        async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as customers:
            for number in range(10):
                customers.create_task(customer(client, number))
            while len(answered) < 30:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)

    asyncio.run(main())
    code, _, said = server.end()
    assert code == -signal.SIGTERM
    quiet(said)
    # Each price was asked for on behalf of a customer who has the answer.
    assert answered == [200] * len(world.by_host("prices.example"))
