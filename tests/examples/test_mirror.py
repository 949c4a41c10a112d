"""The example `crawler` mirrors a site of 2,000 pages, whatever its server does, and goes on where it was stopped."""

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.examples.support import CRAWLER, LONG, execute, start, until
from tests.providers.http.server import Connection, Request, Server, serving

pytestmark = pytest.mark.processes

PAGES = 2000
#: How the first request for a page goes wrong, by the last digits of its number.
FAULTS = {7: "resets", 23: "is cut off", 31: "503", 49: "429", 61: "500", 83: "closes"}


def text(number: int) -> bytes:
    """A page: links to those below it, to some that others link to as well, to itself, and away."""
    below = [other for other in (number * 2, number * 2 + 1) if other < PAGES]
    links = [*(f"/page/{other}#part" for other in below), f"/page/{max(1, number // 2)}?", f"{number}"]
    body = "".join(f'<a href="{link}">x</a>' for link in links)
    return f'<title>{number}</title>{body}<a href="http://elsewhere.invalid/"><img src="/page/1">'.encode()


class Site:
    """Answers `/page/N`, and counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.paused_until = 0.0
        self.too_early = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        while (request := connection.request()) is not None:
            with self._lock:
                self.asked[request.path] += 1
                first = self.asked[request.path] == 1
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                self.too_early += time.monotonic() < self.paused_until
            try:
                if not self.answer(connection, request, first):
                    return
            finally:
                with self._lock:
                    self.at_once -= 1

    def answer(self, connection: Connection, request: Request, first: bool) -> bool:
        """Whether the connection goes on."""
        number = int(request.path.removeprefix("/page/"))
        body = text(number)
        match FAULTS.get(number % 100) if first else None:
            case "resets":
                connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n", body[:10])
                connection.reset()
                return False
            case "is cut off":
                connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n", body[:10])
                return False
            case "closes":
                return False
            case None:
                connection.answer(200, body, content_type="text/html")
            case status:
                connection.answer(int(status), retry_after="0")
        return True


def mirrored(folder: Path) -> dict[int, bytes]:
    return {int(file.name.split("@")[0]): file.read_bytes() for file in folder.rglob("*@.html")}


ALL = {number: text(number) for number in range(1, PAGES)}


def argv(server: Server, folder: Path) -> list[str | os.PathLike[str]]:
    return [CRAWLER, f"{server.url}/page/1", folder, "--per-second", "5000"]


def test_each_page_is_there_once_whatever_the_server_does(tmp_path: Path) -> None:
    site = Site()
    with serving(site) as server:
        code, output, said = execute("-W", "error", *argv(server, tmp_path))
        assert (code, said) == (0, "")
        assert output == f"{PAGES - 1} pages asked for, 0 were there\n"
        assert mirrored(tmp_path) == ALL
        assert site.most_at_once <= 8
        assert {path: n for path, n in site.asked.items() if n != 1 + (int(path[6:]) % 100 in FAULTS)} == {}
        code, output, said = execute("-W", "error", *argv(server, tmp_path))
        assert (code, output) == (0, f"0 pages asked for, {PAGES - 1} were there\n"), said
        assert site.asked.total() < 2 * PAGES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    site = Site()
    with serving(site) as server:
        program = start(*argv(server, tmp_path))
        until(lambda: site.asked.total() > 300, program)
        program.send_signal(number)
        output, said = program.communicate(timeout=LONG)
        assert program.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), (output, said)
        there = mirrored(tmp_path)
        assert 0 < len(there) < PAGES - 1
        assert there.items() <= ALL.items(), "each page that is there is whole"
        code, output, said = execute("-W", "error", *argv(server, tmp_path))
        assert (code, output.split(" were")[0].split(", ")[1]) == (0, f"{len(there)}"), said
        assert mirrored(tmp_path) == ALL


def test_a_host_that_asks_for_a_pause_gets_one(tmp_path: Path) -> None:
    """By all of its pages, not only by the one that was refused."""
    site = Site()
    refused: list[float] = []

    def answer(connection: Connection, request: Request, first: bool) -> bool:
        if len(refused) == 0 and site.asked.total() > 50:
            refused.append(time.monotonic())
            connection.answer(429, retry_after="1")
            # Requests that were on their way already are not early.
            site.paused_until = refused[0] + 1
            threading.Timer(0.2, setattr, (site, "too_early", 0)).start()
            return True
        connection.answer(200, text(int(request.path.removeprefix("/page/"))))
        return True

    site.answer = answer  # type: ignore[method-assign]
    with serving(site) as server:
        code, _, said = execute(*argv(server, tmp_path), "--limit", "300")
    assert (code, said) == (0, "")
    assert len(mirrored(tmp_path)) == 300
    assert site.too_early == 0


def test_what_cannot_be_had_is_named(tmp_path: Path) -> None:
    site = Site()

    def answer(connection: Connection, request: Request, first: bool) -> bool:
        connection.answer(404 if request.path == "/page/3" else 200, text(int(request.path.removeprefix("/page/"))))
        return True

    site.answer = answer  # type: ignore[method-assign]
    with serving(site) as server:
        code, output, said = execute(*argv(server, tmp_path), "--limit", "10")
        gone = f"{server.url}/page/3"
    assert code == 1, output
    assert said == f"{gone}: http.get: GET {gone} was answered with 404\n"
    assert len(mirrored(tmp_path)) == 9
