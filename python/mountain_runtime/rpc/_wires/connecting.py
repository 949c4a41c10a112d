"""Connections to an address or a process."""

import asyncio
import socket

from ...process._process import Process
from .address import Address
from .process_wire import ProcessWire
from .wire import FdWire, Wire

__all__ = ["connected", "set_up_tcp"]

#: Seconds without a byte until the other side is asked whether it is there, between two questions, and their number.
_IDLE, _BETWEEN, _TIMES = 60, 15, 4


def set_up_tcp(own: socket.socket) -> None:
    """Sends small messages at once. A machine that has vanished is noticed within two minutes."""
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _BETWEEN), ("TCP_KEEPCNT", _TIMES)):
        if (number := getattr(socket, option, None)) is not None:
            own.setsockopt(socket.IPPROTO_TCP, number, value)


async def connected(to: "Address | Process") -> Wire:
    """Raises OSError."""
    if isinstance(to, Process):
        process, breaks = await to._connected()
        return ProcessWire(process, breaks)
    loop = asyncio.get_running_loop()
    if to.kind == "unix":
        own = socket.socket(socket.AF_UNIX)
        places: list[object] = [to.path]
    else:
        found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        own = socket.socket(found[0][0], socket.SOCK_STREAM)
        places = [found[0][4]]
    own.setblocking(False)
    try:
        await loop.sock_connect(own, places[0])  # type: ignore[arg-type]
        if to.kind == "tcp":
            set_up_tcp(own)
    except BaseException as error:
        own.close()
        if isinstance(error, OSError) and to.kind == "unix":
            error.filename = to.path  # which the system does not say of a socket
        raise
    return FdWire(own.fileno(), own.fileno(), own.close)
