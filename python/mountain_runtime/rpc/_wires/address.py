"""Addresses: `stdio:`, `unix:PATH`, `tcp:HOST:PORT`, `tcp:TOKEN@HOST:PORT`."""

import ipaddress
from dataclasses import dataclass, field
from typing import Literal

from ...errors import ConfigError
from ...policy._given import shown

__all__ = ["Address", "parse"]

#: Bytes of a path that the system takes for a socket.
_PATH = 107


@dataclass(frozen=True, slots=True)
class Address:
    """Where commands come from."""

    kind: Literal["stdio", "unix", "tcp"]
    path: str = ""
    host: str = ""
    port: int = 0
    token: str | None = field(default=None, repr=False)


def parse(given: object, owner: str) -> Address:
    """A ConfigError for what is none; a token is never part of its message."""
    if not isinstance(given, str):
        raise ConfigError(f"{owner}({shown(given)}): must be 'stdio:', 'unix:PATH' or 'tcp:HOST:PORT'")
    kind, colon, rest = given.partition(":")
    if given == "stdio:":
        return Address("stdio")
    if kind == "unix" and rest and "\0" not in rest:
        if len(rest.encode(errors="surrogateescape")) > _PATH:
            raise ConfigError(f"{owner}({given!r}): the path of a socket has {_PATH} bytes at most")
        return Address("unix", path=rest)
    if kind == "tcp" and colon:
        token, at, place = rest.rpartition("@")
        host, between, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if host and between and port.isascii() and port.isdigit() and int(port) < 65536 and bool(at) == bool(token):
            return Address("tcp", host=host, port=int(port), token=token or None)
        raise ConfigError(f"{owner}('tcp:{place}'): must be 'tcp:HOST:PORT', or 'tcp:TOKEN@HOST:PORT'")
    raise ConfigError(f"{owner}({given!r}): must be 'stdio:', 'unix:PATH' or 'tcp:HOST:PORT'")


def is_loopback(host: str) -> bool:
    """Whether no other machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
