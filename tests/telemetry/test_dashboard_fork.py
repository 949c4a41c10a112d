"""The live page and forked children."""

import os
import socket
import subprocess
import sys
import textwrap

import httpx
import pytest

from tests.lifecycle.support import HEAD

FORKS = """
import httpx

async def look(rt):
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return (await client.get(rt._page.url + "livez")).status_code

async def own():
    async with Runtime(dashboard="127.0.0.1:0") as rt:
        return await look(rt)

async def main():
    async with Runtime(dashboard="127.0.0.1:0") as rt:
        print(rt._page.url, flush=True)
        assert await look(rt) == 200
        child = os.fork()
        if child == 0:
            try:
                rt._page.close()
                asyncio.events._set_running_loop(None)
                print("child serves", asyncio.run(own()), flush=True)
                os.read(0, 1)
                print("child ends", flush=True)
            finally:
                os._exit(0)
        print("parent serves", await look(rt), flush=True)
        await asyncio.sleep(0.3)
        print("parent serves", await look(rt), flush=True)

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of POSIX")
def test_a_forked_child_is_not_served_does_not_hang_and_keeps_no_port() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HEAD + textwrap.dedent(FORKS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            where = httpx.URL(process.stdout.readline().strip())
            assert process.wait(10) == 0, "the parent ends while its child goes on"
            # The child waits, and the port is nobody's.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((where.host, where.port or 0), 5)
        finally:
            process.kill()
        output, said = process.communicate("x", 10)
    assert output.splitlines().count("parent serves 200") == 2, said
    assert "child serves 200" in output, said
    assert "child ends" in output, said
    assert "Traceback" not in said
    assert "panicked" not in said
