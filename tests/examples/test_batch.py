"""The example `batch`, against a server of ours: retries, a stop in the middle, and going on from there."""

import csv
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.examples.support import BATCH, execute, interrupt, start

pytestmark = pytest.mark.processes

ADDRESSES = [f"{number} Long Street" for number in range(400)]


def point_of(address: str) -> list[float]:
    number = int(address.split()[0])
    return [number / 10, -number / 10]


class Server(ThreadingHTTPServer):
    """Knows every address; the first time that it is asked for one that ends in 7, it hangs up."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: Counter[str] = Counter()
        self.answered = 0
        self.lock = threading.Lock()
        #: How long each answer takes, in seconds.
        self.wait = 0.0
        self.waiting = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/search"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of our business."""


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = parse_qs(urlsplit(self.path).query)["q"][0]
        with self.server.lock:
            self.server.asked[address] += 1
            first = self.server.asked[address] == 1
        if first and address.split()[0].endswith("7"):
            self.close_connection = True
            return
        self.server.waiting.wait(self.server.wait)
        body = json.dumps(point_of(address)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        with self.server.lock:
            self.server.answered += 1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the class calls it
        """Quietly."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.waiting.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def addresses(tmp_path: Path) -> Path:
    path = tmp_path / "addresses.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["address"], *([address] for address in ADDRESSES)])
    return path


def test_every_address_is_looked_up_and_lost_connections_are_retried(
    server: Server, addresses: Path, tmp_path: Path
) -> None:
    code, output, said = execute(BATCH, addresses, tmp_path / "state", "--url", server.url)
    assert (code, output, said) == (0, "", "")
    assert json.loads((tmp_path / "state").read_text()) == {address: point_of(address) for address in ADDRESSES}
    assert server.asked == {address: 2 if address.split()[0].endswith("7") else 1 for address in ADDRESSES}


def test_ctrl_c_keeps_what_was_found_and_the_next_run_goes_on(server: Server, addresses: Path, tmp_path: Path) -> None:
    """S4: what is on its way ends, nothing new starts, and the cleanup may still write."""
    state = tmp_path / "state.json"
    server.wait = 0.03  # so that some requests are on their way when the signal comes
    program = start(BATCH, addresses, "--url", server.url, cwd=tmp_path)
    code, output, said = interrupt(program, lambda: server.answered >= 60)
    assert (code, output) == (130, "")
    assert "Traceback" not in said
    known = json.loads(state.read_text())
    assert 60 <= len(known) < len(ADDRESSES)
    assert known == {address: point_of(address) for address in known}
    assert len(known) == server.answered  # no answer was lost
    assert f"stopped: {len(known)} of {len(ADDRESSES)} addresses are known" in said
    assert "drain" in said
    assert {path.name for path in tmp_path.iterdir()} == {"addresses.csv", "state.json"}

    server.wait = 0
    before = Counter(server.asked)
    code, _, said = execute(BATCH, addresses, "--url", server.url, cwd=tmp_path)
    assert (code, said) == (0, "")
    assert json.loads(state.read_text()) == {address: point_of(address) for address in ADDRESSES}
    assert all(server.asked[address] == before[address] for address in known)  # nothing is asked for twice
