"""The address of the live page, and the error where it cannot be served."""

import errno
import gc
import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from mountain_runtime import Runtime
from mountain_runtime.errors import ConfigError
from tests.lifecycle.support import HEAD
from tests.providers.support import ROOT_USER

from .looks import raw, snapshot, url


async def refusal(address: str) -> OSError:
    """The error of entering a runtime whose page cannot stand there. It leaves nothing behind."""
    rt = Runtime(dashboard=address)
    with pytest.raises(OSError) as caught:
        await rt.__aenter__()
    del rt
    gc.collect()
    return caught.value


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")], ids=["IPv4", "IPv6"]
)
async def test_a_port_that_is_taken_is_named(
    client: httpx.AsyncClient, family: socket.AddressFamily, host: str
) -> None:
    with socket.create_server((host.strip("[]"), 0), family=family) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        error = await refusal(f"s3cret@{address}")
    assert (error.errno, error.filename) == (errno.EADDRINUSE, address)
    assert str(error) == f"[Errno {errno.EADDRINUSE}] Address already in use: '{address}'"
    async with Runtime(dashboard=address) as rt:
        assert url(rt) == f"http://{address}/"
        assert (await client.get(url(rt))).status_code == 200
        assert (await client.get(url(rt, "/readyz"))).status_code == 200
        assert (await snapshot(client, rt)).state["ready"]


async def test_an_address_that_is_another_machine_s_is_named() -> None:
    error = await refusal("192.0.2.1:9600")  # of a network that is for documentation only
    assert (error.errno, error.filename) == (errno.EADDRNOTAVAIL, "192.0.2.1:9600")


async def test_a_host_that_is_unknown_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"nothing\.invalid:9600.*cannot be found"):
        async with Runtime(dashboard="nothing.invalid:9600"):
            pass


async def test_the_page_ends_with_a_runtime_that_could_not_be_entered() -> None:
    class Refuses(Runtime):
        def _enter(self) -> None:
            raise OSError(errno.EAGAIN, "no threads are left")

    rt = Refuses(dashboard="127.0.0.1:0")
    with pytest.raises(OSError, match="no threads"):
        await rt.__aenter__()
    with pytest.raises(ConnectionRefusedError):
        await raw(rt, "GET /livez HTTP/1.1\nHost: 127.0.0.1")


#: The first port that any user may have.
FREE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
PRIVILEGED = int(FREE.read_text()) - 1 if FREE.exists() else 1023

if PRIVILEGED > 0:
    PROGRAM = (
        HEAD
        + """
address, user = json.loads(sys.argv[1])
if user is not None:
    os.setgroups([])
    os.setresuid(user, user, user)

async def main():
    try:
        async with Runtime(dashboard=address):
            pass
    except OSError as error:
        print(json.dumps([type(error).__name__, error.filename]))

asyncio.run(main())
"""
    )

    @pytest.mark.processes
    def test_a_port_that_needs_a_right_is_named() -> None:
        address = f"127.0.0.1:{PRIVILEGED}"
        argument = json.dumps([address, 65534 if ROOT_USER else None])
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, argument],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["PermissionError", address]
