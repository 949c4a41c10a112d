"""A server on this machine for the programs that tests run: it answers as a test says, and knows what it was asked."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate


@dataclass(eq=False)
class Asked:
    """One request, with the times between which it was at work in the server."""

    host: str
    path: str
    body: bytes = b""
    began: float = field(default_factory=time.monotonic)
    ended: float = float("inf")

    @property
    def span(self) -> tuple[float, float]:
        return self.began, self.ended


#: The body of the answer; a number is the status of an answer without one; None hangs up.
Answer = str | int | None


class Server(ThreadingHTTPServer):
    """Answers on a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.answer = answer
        self.asked: list[Asked] = []

    def by_host(self, host: str) -> list[Asked]:
        return [each for each in self.asked if each.host == host]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of our business."""


class _Connection(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.headers["Host"], self.path, body)
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        asked.ended = time.monotonic()  # before the client can have it
        if answer is None:
            self.close_connection = True
            return
        text = (answer if isinstance(answer, str) else "").encode()
        self.send_response(200 if isinstance(answer, str) else answer)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - as the class calls it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the class calls it
        """Quietly."""


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[Server]:
    """A server, as long as the block lasts."""
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many of these spans of time have a moment in common."""
    changes = sorted(change for began, ended in spans for change in ((began, 1), (ended, -1)))
    return max(accumulate(change for _, change in changes))


def most_in(seconds: float, starts: list[float]) -> int:
    """How many of these times the fullest window of so many seconds holds."""
    starts = sorted(starts)
    return max(sum(first <= start < first + seconds for start in starts) for first in starts)
