"""A server whose every byte a test decides: a thread for each connection."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Script = Callable[["Connection"], None]


@dataclass
class Request:
    """A request as it has come."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """The server's end of one connection."""

    def __init__(self, server: "Server", sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self._buffer = b""

    def request(self) -> Request | None:
        """The next request, whole; None where the client has closed."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in lines if line)
        request = Request(method, path, headers, self._take(int(headers.get("content-length", "0"))))
        self.server.requests.append(request)
        return request

    def send(self, *parts: bytes | str) -> None:
        for part in parts:
            self.sock.sendall(part.encode() if isinstance(part, str) else part)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        lines = {"content-length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        self.send(f"HTTP/1.1 {status} Any\r\n{head}\r\n", body)

    def serve(self, answer: Callable[["Connection", Request], None]) -> None:
        """Answers request after request."""
        while (request := self.request()) is not None:
            answer(self, request)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def read(self) -> bytes:
        return self.sock.recv(65536)

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._buffer:
            if not (more := self.read()):
                return None
            self._buffer += more
        head, self._buffer = self._buffer.split(end, 1)
        return head

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._buffer += self.read() or bytes(size)
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return body


@dataclass
class Server:
    """Where it listens, and what has come in."""

    script: Script
    context: ssl.SSLContext | None = None
    path: str | None = None
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    _open: list[socket.socket] = field(default_factory=list[socket.socket])
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __post_init__(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        self._listening.bind(self.path or ("127.0.0.1", 0))
        self._listening.listen(128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """The connections that have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        # Each thread closes its own socket: a number that is closed under a thread may be another connection's by then.
        self._shut(self._listening)
        self._thread.join()
        self._listening.close()
        for sock in self._open:
            self._shut(sock)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a script does not end with its connection"

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            if self.path is None:
                # A body does not wait until its head is acknowledged.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        # The client may go away in the middle of anything.
        with contextlib.suppress(OSError, ValueError):
            try:
                if self.context is not None:
                    sock = self.context.wrap_socket(sock, server_side=True)
                    self._open.append(sock)
                self.script(Connection(self, sock))
            finally:
                sock.close()


@contextlib.contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None, path: str | None = None) -> Iterator[Server]:
    server = Server(script, context, path)
    try:
        yield server
    finally:
        server.close()


def answering(answer: Callable[[Connection, Request], None]) -> Script:
    return lambda connection: connection.serve(answer)


def echo(connection: Connection, request: Request) -> None:
    connection.answer(200, request.body, x_path=request.path)


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def streaming(*parts: bytes) -> Callable[[Connection, Request], None]:
    def answer(connection: Connection, request: Request) -> None:
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n", chunks(*parts))

    return answer
