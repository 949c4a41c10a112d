"""Services under FastAPI and uvicorn: what the request fills and what the runtime fills, probes, a start that fails."""

import json
import signal
from pathlib import Path

import pytest

from .support import APPS, Program, quiet, serving, uvicorn

pytestmark = pytest.mark.processes


def test_needs_stand_beside_the_parameters_of_a_request() -> None:
    with serving(*uvicorn("stock:app")) as server:
        assert server.get("/things/nails").json() == 3
        assert server.get("/things/nails?least=5").json() == 5
        assert server.get("/effects/nails").json() == 3
        assert server.get("/plain/nails").json() == 3
        paths = server.get("/openapi.json").json()["paths"]
        names = [each["name"] for each in paths["/things/{thing}"]["get"]["parameters"]]
        assert names == ["thing", "least"]  # no client is asked for a service
        assert [each["name"] for each in paths["/effects/{thing}"]["get"]["parameters"]] == ["thing"]
        assert server.get("/livez").json() is True
        ready = server.get("/readyz")
        up = {"state": "up", "reason": None}
        assert (ready.status_code, ready.json()) == (
            200,
            {"live": True, "ready": True, "services": {"Desk": up, "Store": up}},
        )
        code, output, said = server.end(signal.SIGTERM)
    assert code == -signal.SIGTERM
    quiet(said)
    told = json.loads(output)
    assert told["said"] == ["store opened", "desk opened", "desk closed", "store closed"]
    assert told["report"]["ok"]


FAILS = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from stock import open_desk, open_store, Desk, Store
from mountain_runtime import Runtime, need

@asynccontextmanager
async def fails(desk=need(Desk)):
    raise OSError("no such table")
    yield

@asynccontextmanager
async def lifespan(app):
    try:
        async with Runtime().provide(Store, open_store).provide(Desk, open_desk).provide(object, fails):
            yield
    finally:
        import stock
        print(stock.said)

app = FastAPI(lifespan=lifespan)
"""


def test_a_service_that_does_not_start_ends_the_server_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILS)
    program = Program(*uvicorn("failing:app", "--app-dir", str(APPS)), cwd=tmp_path)
    code, output, said = program.end()
    assert code == 3  # as uvicorn ends when a lifespan fails
    assert "OSError: no such table" in said
    assert "Application startup failed" in said
    assert output.strip() == str(["store opened", "desk opened", "desk closed", "store closed"])
