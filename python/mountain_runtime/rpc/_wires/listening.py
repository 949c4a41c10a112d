"""Sockets that callers connect to: at a path that only this user reaches, or at a port."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ...errors import ConfigError
from ...telemetry import _logs
from .address import Address, is_loopback
from .connecting import set_up_tcp
from .wire import FdWire

__all__ = ["Listener"]

_log = _logs.logger("rpc")
_BACKLOG = 512
#: Seconds until it is tried again to accept, when there are no descriptors left.
_LATER = 0.1

Accepted = Callable[[FdWire, str], None]


class Listener:
    """Calls `accepted` with the wire of each who connects, and with its address, until it is closed."""

    def __init__(self, address: Address, accepted: Accepted) -> None:
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._path: tuple[str, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._socket = _listen_tcp(address) if address.kind == "tcp" else self._listen_unix(address.path)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._accept)
        name = self._socket.getsockname()
        where = f"tcp:{name[0]}:{name[1]}" if address.kind == "tcp" else f"unix:{address.path}"
        _log.info("commands are served at %s", where)

    def _listen_unix(self, path: str) -> socket.socket:
        own = socket.socket(socket.AF_UNIX)
        try:
            _clear(path)
            # Its mode is set before others can connect, which is possible from `listen` on.
            before = os.umask(0o177)
            try:
                own.bind(path)
            finally:
                os.umask(before)
            own.listen(_BACKLOG)
        except BaseException as error:
            own.close()
            if isinstance(error, OSError):
                error.filename = path  # which the system does not say of a socket
            raise
        self._path = path, os.stat(path).st_ino  # noqa: PTH116 - the name as it was given
        return own

    def _accept(self) -> None:
        for _ in range(64):
            try:
                found, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.warning("no caller can be accepted for now: %s", error)
                    self._loop.remove_reader(self._socket.fileno())
                    self._timer = self._loop.call_later(_LATER, self._accept_again)
                    return
                continue  # it has gone already
            found.setblocking(False)
            if self._path is None:
                set_up_tcp(found)
                where = f"tcp:{address[0]}:{address[1]}"
            else:
                where = _peer(found)
            number = found.fileno()
            self._accepted(FdWire(number, number, found.close), where)

    def _accept_again(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Nothing more is accepted; a path that is still its own is removed."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        if self._path is not None:
            path, inode = self._path
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:  # noqa: PTH116
                    os.unlink(path)  # noqa: PTH108
        self._socket.close()


def _listen_tcp(address: Address) -> socket.socket:
    if address.token is None and not is_loopback(address.host):
        raise ConfigError(
            f"serve('tcp:{address.host}:{address.port}'): other machines reach it: write 'tcp:TOKEN@HOST:PORT', with a "
            "token that is hard to guess, or serve on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


def _clear(path: str) -> None:
    """Removes a socket that none serves. Raises OSError (EADDRINUSE) for one that is, or what is no socket."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, "there is a file that is no socket", path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            Path(path).unlink(missing_ok=True)
            return
        except OSError:  # its queue is full, or it belongs to another
            pass
    raise OSError(errno.EADDRINUSE, "it is served already", path)


def _peer(found: socket.socket) -> str:
    """The process and the user at the other end."""
    if sys.platform != "linux":
        return "unix:"
    process, user, _ = struct.unpack("3i", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"unix:process {process} of user {user}"
