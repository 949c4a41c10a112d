"""Clients in forked processes, on several loops, and at the end of a program."""

import asyncio
import os
import subprocess
import sys
import threading

from mountain_runtime import http
from tests.providers.http.server import Connection, Request, answering, echo, serving

FORKED = """
import asyncio, os, sys, warnings
from mountain_runtime import http

warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork with threads warns
client = http.Client(sys.argv[1])

async def get():
    return (await client.get("/x")).status

assert asyncio.run(get()) == 200
child = os.fork()
if child == 0:
    os._exit(0 if client._client.connections() == (0, 0) and asyncio.run(get()) == 200 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(get()) == 200
"""

#: The jar is at work for most of the time while another thread forks.
FORKED_WITH_COOKIES = """
import asyncio, os, signal, sys, threading, warnings
from mountain_runtime import http

warnings.simplefilter("ignore", DeprecationWarning)
client = http.Client(sys.argv[1], cookies=True)
over = False

async def many():
    while not over:
        await client.get("/x")

thread = threading.Thread(target=lambda: asyncio.run(many()))
for _ in range(20):
    asyncio.run(client.get("/set"))
thread.start()
ends = []
for _ in range(40):
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        asyncio.run(client.get("/x"))
        os._exit(0)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over = True
thread.join()
assert ends == [0] * 40, ends
"""

LEFT = """
import asyncio, sys
from mountain_runtime import http

client = http.Client(sys.argv[1])

async def main():
    await client.get("/x")
    asyncio.ensure_future(client.get("/slow"))
    await asyncio.sleep(0)

asyncio.run(main())
"""

HOSTS = """
import asyncio
from mountain_runtime import _native, http

async def main():
    client = http.Client()
    for port in range(1, 21):
        await client.get(f"http://127.0.0.1:{port}/").attempt(OSError)

asyncio.run(main())
text = _native.metrics_text(openmetrics=False)
lines = [line for line in text.splitlines() if "mountain_http_answers_total{" in line]
assert sum(int(line.split()[-1]) for line in lines) == 20, lines
assert len(lines) == 4, lines
assert any('host="other"' in line for line in lines), lines
"""


def run(program: str, url: str = "", **environment: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | environment,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_hosts_beyond_a_number_share_their_metrics() -> None:
    run(HOSTS, MOUNTAIN_SERIES="3")


def test_a_forked_process_has_connections_of_its_own() -> None:
    with serving(answering(echo)) as server:
        run(FORKED, server.url)
        assert server.connections == 2


def test_a_process_that_is_forked_while_cookies_are_kept_has_them() -> None:
    numbers = iter(range(10_000))

    def answer(connection: Connection, request: Request) -> None:
        cookies = "".join(
            f"Set-Cookie: name{next(numbers)}={'x' * 20}\r\n" for _ in range(100 * (request.path == "/set"))
        )
        connection.send(f"HTTP/1.1 200 OK\r\n{cookies}Content-Length: 0\r\n\r\n")

    with serving(answering(answer)) as server:
        run(FORKED_WITH_COOKIES, server.url)
        assert all(r.headers["cookie"].count("name") == 2000 for r in server.requests if r.path == "/x")


def test_a_program_ends_with_connections_open() -> None:
    with serving(
        answering(lambda connection, request: echo(connection, request) if request.path == "/x" else None)
    ) as server:
        run(LEFT, server.url)


def test_one_client_serves_several_loops() -> None:
    with serving(answering(echo)) as server:
        client = http.Client(server.url)
        seen: list[int] = []

        async def get() -> None:
            seen.extend([(await client.get("/")).status for _ in range(20)])

        threads = [threading.Thread(target=lambda: asyncio.run(get())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [200] * 80
        assert server.connections <= 4
