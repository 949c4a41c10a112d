"""The connection of this process to a Ray cluster: one for all pools, which the last of them leaves.

1. A TCP connection says whether there is a server, and a request whether it is a head of Ray's that takes our token:
   Ray itself tries for a minute, and then ends the program.
2. `ray.init` connects, on a thread, as it blocks.
3. A connection that the program has made itself is used, and left to it.
4. The last pool to leave disconnects. So does one that finds the head gone, before Ray ends the program.
"""

import contextlib
import logging
import os
import socket
import threading
from typing import Any

from ..errors import NoWorkers

__all__ = ["alive", "join", "leave", "ray"]

_lock = threading.Lock()
#: The pools that are connected, the address, and whether the connection is the program's own.
_users = 0
_address: str | None = None
_own = False
#: The process that has connected: a fork of it cannot use the connection.
_pid = 0


def ray() -> Any:
    """The package. Raises NoWorkers where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise NoWorkers(f"Ray is not installed: pip install 'mountain-runtime[ray]' ({error})") from None
    return ray


def join(address: str | None, seconds: float) -> None:
    """Connects; blocks for so many seconds at most. Raises NoWorkers where it cannot."""
    global _users, _address, _own, _pid
    package = ray()
    with _lock:
        if _pid not in (0, os.getpid()):
            raise NoWorkers("this process is a fork of one that is connected to Ray: connect in one of them only")
        if _users:
            if address != _address:
                raise NoWorkers(f"this process is connected to Ray at {_address}: it has one connection")
            _users += 1
            return
        if not (own := bool(package.is_initialized())):
            if address is not None:
                _limited(lambda: _check(address, seconds), seconds, f"no head of Ray answers at {address}")
            where = "local" if address is None else address
            _limited(lambda: _init(package, where), seconds, f"Ray at {where} does not take this process")
        _users, _address, _own, _pid = 1, address, own, os.getpid()


def leave() -> None:
    """Disconnects where no other pool is connected; blocks."""
    global _users, _pid
    with _lock:
        _users -= 1
        if not _users:
            _pid = 0
            if not _own:
                with contextlib.suppress(Exception):
                    ray().shutdown()


def alive(address: str | None, seconds: float) -> bool:
    """Whether the head is there; blocks for so many seconds at most."""
    if address is None:
        return True  # its processes are children of this one
    host, port = _parts(address)
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError:
        return False
    return True


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    try:
        return host.strip("[]"), int(port)
    except ValueError:
        raise NoWorkers(f"{address!r} is not an address of Ray's, such as 127.0.0.1:6379") from None


def _check(address: str, seconds: float) -> None:
    """Step 1."""
    socket.create_connection(_parts(address), seconds).close()
    import ray._raylet as native

    head: Any = vars(native)["GcsClient"]
    head(address=address).get_all_node_info(timeout=seconds)


def _init(package: Any, where: str) -> None:
    """Step 2."""
    settings = {"include_dashboard": False} if where == "local" else {}
    package.init(where, logging_level=logging.ERROR, **settings)


def _limited(step: Any, seconds: float, what: str) -> None:
    """A step on a thread of its own, which is left behind when its time is over."""
    failed: list[BaseException | None] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:
            failed.append(error)
        else:
            failed.append(None)

    thread = threading.Thread(target=run, name="mountain-ray", daemon=True)
    thread.start()
    thread.join(seconds)
    if not failed:
        raise NoWorkers(f"{what} within {seconds:g} s")
    if (error := failed[0]) is not None:
        raise NoWorkers(f"{what}: {type(error).__name__}: {error}") from error
