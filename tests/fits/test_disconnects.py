"""A client that goes away ends its work, by the guide's recipe, under the servers that tell of it."""

import signal
from collections.abc import Iterator

import httpx
import pytest

from .support import Server, quiet, serving, until, uvicorn

pytestmark = pytest.mark.processes

HYPERCORN = ("-m", "hypercorn", "leaving:app", "--bind", "127.0.0.1:0")


@pytest.fixture(scope="module", params=[uvicorn("leaving:app"), HYPERCORN], ids=["uvicorn", "hypercorn"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(*request.param) as server:
        yield server
        _, _, said = server.end(signal.SIGTERM)
    quiet(said)


@pytest.fixture
def events(server: Server) -> list[str]:
    """The events before the test, for it to compare with."""
    before: list[str] = server.get("/events").json()
    return before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_work_ends_with_its_client(server: Server, events: list[str], method: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.request(
            method, f"{server.url}/report?seconds=60", json={"of": "it"} if method == "POST" else None, timeout=0.5
        )
    until(lambda: server.get("/events").json() == [*events, "begun", "cleaned up"])


def test_a_client_that_stays_has_its_answer(server: Server) -> None:
    assert server.get("/report?seconds=0.01").json() == "a report"
    assert server.post("/report?seconds=0.01", json={"of": "it"}).json() == "a report of it"


def test_an_error_is_the_handlers(server: Server) -> None:
    answer = server.get("/report?seconds=0")
    assert (answer.status_code, answer.json()) == (422, {"detail": "nothing to report"})
