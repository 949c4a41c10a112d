"""HTTP: requests as effects that run wholly on a native thread, from the socket to the bytes of the answer.

Connections are kept and shared. Failures raise the builtin errors where there is one: ConnectionRefusedError and its
kin before a request is sent, PermissionError for an address that is refused, ssl.SSLCertVerificationError for a
certificate that is not trusted. A request that a server may have run is never sent again by itself.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, NoReturn, Self, cast, final

from . import _needed as _needed  # first: a build without it says so

# isort: split
from .._native import Effect, Headers, HttpClient, Progress, Response
from ..errors import ConfigError
from ..policy._given import shown
from ..policy._numbers import count
from ._body import Body, Event, Opening
from ._failures import ProtocolError, StatusError, Unanswered, transient
from ._misused import ClientOnly, checked, foreign, missing, redirects_of, spoken
from ._packing import MISSING, Files, GivenHeaders, own, packed, pairs, refused, with_params

__all__ = [
    "Body",
    "Client",
    "Event",
    "Headers",
    "Progress",
    "ProtocolError",
    "Response",
    "StatusError",
    "Unanswered",
    "transient",
]

StrPath = str | os.PathLike[str]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise missing(name)


Mapping.register(Headers)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


@final
class Client(ClientOnly):
    """Connections to any number of hosts, kept between requests. It opens them when they are needed.

    As a block it closes them at its end; without, they close with the runtime, or when the client is dropped.
    """

    __slots__ = ("__weakref__", "_client")

    def __init__(
        self,
        base: str = "",
        *,
        headers: GivenHeaders = (),
        http2: bool = True,
        connections: int = 100,
        per_host: int = 16,
        redirects: int = 10,
        max_body: int = 64 << 20,
        proxy: str | None = None,
        ca: StrPath | None = None,
        cert: tuple[StrPath, StrPath] | None = None,
        public_only: bool = False,
        cookies: bool = False,
    ) -> None:
        """`base` begins the addresses that have no host: `https://api.test/v1`, or `unix:/run/x.sock`.

        `headers` go with every request. `http2` is agreed with a server over TLS. At most `connections` are open at a
        time, and `per_host` to one host; requests wait for one in order. `redirects` are followed, so many; 0 follows
        none. A body of more than `max_body` bytes, once unpacked, is a ProtocolError. Without `proxy`, the environment
        says which (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, and NO_PROXY with names and networks); "" is none. `ca` is a
        file of the authorities to trust in place of the system's, `cert` the files of a certificate and its key.
        `public_only` refuses addresses that are not public, after each resolution. With `cookies`, those of answers are
        kept, each for its host.

        Raises ConfigError for a setting that cannot work, and the builtin errors for a file that cannot be read.
        """
        checked(base, headers, proxy, cert, http2=http2, public_only=public_only, cookies=cookies)
        if public_only and (proxy or base.startswith("unix:")):
            raise ConfigError("http.Client(public_only=True): what a proxy or a socket leads to cannot be looked at")
        try:
            self._client = HttpClient(
                base=base,
                headers=own(headers),
                http2=http2,
                connections=count(connections, "http.Client", "connections"),
                per_host=count(per_host, "http.Client", "per_host"),
                redirects=redirects_of(redirects),
                max_body=count(max_body, "http.Client", "max_body"),
                proxy=proxy,
                ca=ca,
                cert=cert,
                public_only=public_only,
                cookies=cookies,
            )
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"http.Client: {error}") from None

    def __repr__(self) -> str:
        opened, idle = self._client.connections()
        return f"<http.Client connections={opened} idle={idle}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: GivenHeaders = (),
        check: bool = True,
        **other: Never,
    ) -> Effect[Response]:
        """As `request("GET", url)`."""
        if other:
            raise foreign("client.get", other)
        if params:
            url = with_params(url, params)
        try:
            return self._client.request("GET", url, pairs(headers), None, check)
        except TypeError as error:
            raise refused(error, url, headers) from None

    def post(
        self,
        url: str,
        *,
        json: Any = MISSING,
        data: bytes | Mapping[str, str] | None = None,
        files: Files | None = None,
        headers: GivenHeaders = (),
        check: bool = True,
        **other: Never,
    ) -> Effect[Response]:
        """As `request("POST", url)`."""
        if other:
            raise foreign("client.post", other)
        return self.request("POST", url, json=json, data=data, files=files, headers=headers, check=check)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: GivenHeaders = (),
        json: Any = MISSING,
        data: bytes | Mapping[str, str] | None = None,
        files: Files | None = None,
        check: bool = True,
        **other: Never,
    ) -> Effect[Response]:
        """Sends a request, and reads the whole answer.

        `params` are added to the address. The body is `json`, which is written by this call, or `data`: bytes as they
        are, a mapping as a form. In both, None is left out, and a list is one for each. With `files`, the form has
        parts: each file is its name and its bytes, and its type if it has one.

        Raises StatusError for a status of 400 or above, unless `check` is False; the builtin connection errors, of
        which Unanswered says that the request may have run; ProtocolError. ValueError for an address or a header that
        cannot be sent.
        """
        if other:
            raise foreign("client.request", other)
        if params:
            url = with_params(url, params)
        given, body = packed(headers, json, data, files)
        try:
            return self._client.request(spoken(method), url, given, body, check)
        except TypeError as error:
            raise refused(error, url, headers, method) from None

    def open(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: GivenHeaders = (),
        json: Any = MISSING,
        data: bytes | Mapping[str, str] | None = None,
        files: Files | None = None,
        check: bool = True,
        **other: Never,
    ) -> AbstractAsyncContextManager[Body]:
        """`async with client.open("GET", url) as body`: an answer whose body is read piece by piece.

        The server waits for its reader. A body that is packed may hold `max_body` bytes; one that is not, any number.
        The connection closes with the block where the body has not been read to its end. Raises as `request` does.
        """
        if other:
            raise foreign("client.open", other)
        if params:
            url = with_params(url, params)
        given, content = packed(headers, json, data, files)
        try:
            return Opening(self._client.open(spoken(method), url, given, content, check))
        except TypeError as error:
            raise refused(error, url, headers, method) from None

    def download(
        self,
        url: str,
        to: StrPath,
        *,
        headers: GivenHeaders = (),
        resume: bool = True,
        progress: Progress | None = None,
        **other: Never,
    ) -> Effect[int]:
        """Writes a body into a file, which is there whole or not at all; the size in bytes.

        With `resume`, what a download has written before it failed is kept beside the file, as `.NAME.part`, where the
        server says which version it is (an ETag, or Last-Modified). The next one asks for the rest of that version.
        `progress` is a Progress, whose `done` and `total` say how far it is.

        Raises as `request` does, and the builtin errors of files.
        """
        if other:
            raise foreign("client.download", other)
        if progress is not None and not isinstance(cast("object", progress), Progress):
            raise TypeError(
                f"download(progress=) takes an http.Progress(), which says how far it is, not {shown(progress)}"
            )
        try:
            return self._client.download(url, to, pairs(headers), resume, progress)
        except TypeError as error:
            raise refused(error, url, headers) from None
