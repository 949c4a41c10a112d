"""The live page and forked children."""

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
            # The child waits, and the port is free.
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


DROPPED = """
async def main():
    rt = Runtime(dashboard="127.0.0.1:0")
    async with rt:
        child = os.fork()
        if child == 0:
            try:
                asyncio.events._set_running_loop(None)
                if sys.argv[1] == "close":
                    rt._page.close()
                page, rt._page = rt._page, None
                page._timer.cancel()
                page._native = None
                del page
                gc.collect()
                print("child lists", asyncio.run(child_main()), flush=True)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

async def child_main():
    import httpx
    release = asyncio.Event()

    @effect(name="of the child")
    async def work():
        await release.wait()

    async with Runtime(dashboard="127.0.0.1:0") as rt:
        handle = rt.submit(work())
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            async with client.stream("GET", rt._page.url + "events") as response:
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        running = json.loads(line[5:])["running"]
                        break
        release.set()
        await handle
        return sorted(each["name"] for each in running.values())

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("how", ["close", "drop"])
def test_what_the_parent_s_page_ends_with_is_nothing_to_the_child_s(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HEAD + textwrap.dedent(DROPPED), how],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout == "child lists ['of the child']\n", done.stderr


STREAM = """
import socket

async def main():
    async with Runtime(dashboard="127.0.0.1:0") as rt:
        host, port = rt._page.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /events HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
        await reader.readline()
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass
        print("its end is seen")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

asyncio.run(main())
"""


@pytest.mark.processes
def test_whoever_looks_sees_the_page_end_while_a_child_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HEAD + textwrap.dedent(STREAM)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout == "its end is seen\n", done.stderr
