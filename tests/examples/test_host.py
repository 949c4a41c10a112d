"""The host: what it answers, what becomes of orders at a signal and at a kill, its order of shutdown, what is left."""

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.examples.support import ROOT
from tests.fits.support import Server, quiet, serving, until

pytestmark = pytest.mark.processes

HOST = ROOT / "examples" / "host" / "main.py"


@contextmanager
def shop(folder: Path, *options: str) -> Iterator[Server]:
    """The example on a port that is free, with its store in a folder."""
    with serving(str(HOST), "--port", "0", *options, cwd=folder) as server:
        yield server


def orders(folder: Path) -> dict[int, tuple[str, str | None]]:
    """The store's contents, asked from outside. It is whole, whatever happened."""
    with closing(sqlite3.connect(folder / "orders.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        return {number: (item, label) for number, item, label in database.execute("select * from orders")}


def family(pid: int) -> set[int]:
    """The processes that this one has started, and those that they have."""
    children = {
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    }
    return children.union(*(family(child) for child in children))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def nothing_left(folder: Path, server: Server, started: set[int]) -> None:
    """No process of it lives, its port is free, and its folder has the store and nothing beside it."""
    until(lambda: not any(map(lives, started)))
    with pytest.raises(httpx.ConnectError):
        server.get("/readyz")
    assert sorted(os.listdir(folder)) == ["orders.db"]


def under_load(server: Server, *, until_answered: int, then: signal.Signals) -> tuple[dict[int, str], int]:
    """The orders of twenty clients until the port is closed: the answered ones by number, and the count of refusals."""
    accepted: dict[int, str] = {}
    refused = 0

    async def client(http: httpx.AsyncClient, name: int) -> None:
        nonlocal refused
        for again in range(10_000):
            item = f"item {name} {again}"
            try:
                answer = await http.post(f"{server.url}/orders", content=item)
            except httpx.TransportError:
                return
            if answer.status_code == 503:
                refused += 1
                return
            assert answer.status_code == 201, server.said
            accepted[answer.json()["number"]] = item

    async def main() -> None:
        async with httpx.AsyncClient(timeout=30) as http, asyncio.TaskGroup() as clients:
            for name in range(20):
                clients.create_task(client(http, name))
            while len(accepted) < until_answered:
                await asyncio.sleep(0.005)
            server.process.send_signal(then)

    asyncio.run(main())
    return accepted, refused


def test_it_takes_orders_and_ships_them(tmp_path: Path) -> None:
    with shop(tmp_path) as server:
        assert server.get("/readyz").status_code == 200
        assert server.post("/orders", content=" blue   shoes ").json() == {"number": 1}
        assert server.post("/orders", content="  ").status_code == 422
        assert server.get("/orders/2").status_code == 404
        until(lambda: server.get("/orders/1").json() == {"label": "LABEL-000001 BLUE SHOES"})
        code, _, said = server.end(signal.SIGTERM)
    assert code == 0
    quiet(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_no_accepted_order(tmp_path: Path, number: signal.Signals) -> None:
    with shop(tmp_path) as server:
        started = family(server.process.pid)
        assert started
        accepted, _ = under_load(server, until_answered=100, then=number)
        begun = time.monotonic()
        code, output, said = server.end()
        assert time.monotonic() - begun < 10
    assert code == 0
    kept = orders(tmp_path)
    assert {each: kept[each][0] for each in accepted} == accepted  # every order that was answered is there
    assert len(kept) == len(accepted)  # and each of those orders was answered
    labels = {each: label for each, (_, label) in kept.items() if label is not None}
    assert all(label == f"LABEL-{each:06d} {kept[each][0].upper()}" for each, label in labels.items())
    assert len(labels) >= 100 - 20

    # In order: work ends, then no request is let in, then the services are closed. And it says how that went.
    assert in_order(quiet(said), "ingress closed", "store closed")
    assert "printer off" in said
    report = output[output.index("shutdown complete") :]
    names = re.findall(r"^  (\S.*?)  .* done$", report, re.MULTILINE)
    assert len(names) == len(report.splitlines()) - 1, report  # each step was done
    assert names[:4] == ["refuse", "drain", "cancel", "threads"]
    assert in_order(report, "threads", "stop ingress", "stop Store", "native"), report
    assert in_order(report, "threads", "stop Labels", "native"), report
    nothing_left(tmp_path, server, started)

    # Orders that were not shipped are shipped after the next start.
    with shop(tmp_path) as server:
        until(lambda: all(label for _, label in orders(tmp_path).values()))
        assert server.end(signal.SIGTERM)[0] == 0
    assert len(orders(tmp_path)) == len(kept)


def in_order(text: str, *parts: str) -> bool:
    """Whether these parts stand in the text one after the other."""
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_a_kill_under_load_loses_no_accepted_order_and_leaves_no_process(tmp_path: Path) -> None:
    with shop(tmp_path) as server:
        started = family(server.process.pid)
        accepted, _ = under_load(server, until_answered=50, then=signal.SIGKILL)
        assert server.end()[0] == -signal.SIGKILL
        until(lambda: not any(map(lives, started)))
    kept = orders(tmp_path)  # which recovers the store from its journal, if need be
    assert {each: kept[each][0] for each in accepted} == accepted


def test_a_printer_that_dies_is_started_again_and_no_order_is_lost(tmp_path: Path) -> None:
    with shop(tmp_path) as server:
        server.post("/orders", content="first")
        until(lambda: server.get("/orders/1").json()["label"])
        for pid in family(server.process.pid):
            if b"labels.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        server.post("/orders", content="second")
        until(lambda: server.get("/orders/2").json() == {"label": "LABEL-000002 SECOND"})
        code, output, _ = server.end(signal.SIGTERM)
    assert code == 0
    assert "shutdown complete" in output


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with shop(tmp_path) as server:
        started = family(server.process.pid)
        printers = [pid for pid in started if b"labels.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(printers[0], signal.SIGSTOP)  # its answer never comes
        server.post("/orders", content="stuck")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        begun = time.monotonic()
        code, _, _ = server.end(signal.SIGTERM)
        assert time.monotonic() - begun < 5
    assert code == 143
    until(lambda: not any(map(lives, started)))
    assert orders(tmp_path) == {1: ("stuck", None)}


def test_clients_who_have_not_heard_of_the_stop_are_served_for_a_while(tmp_path: Path) -> None:
    """The readiness probe knows at once; orders are taken until the propagation is over."""
    with shop(tmp_path, "--propagation", "1") as server:
        assert server.get("/readyz").json() == {"Store": "up", "Labels": "up", "ingress": "up"}
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        assert server.post("/orders", content="late").status_code == 201
        assert server.end()[0] == 0
    assert orders(tmp_path)[1][0] == "late"
