"""Connections to an address or a process."""

import asyncio
import socket

from ...process._process import Process
from .address import Address
from .process_wire import ProcessWire
from .wire import FdWire, Wire

__all__ = ["connected"]


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
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        own.close()
        raise
    return FdWire(own.fileno(), own.fileno(), own.close)
