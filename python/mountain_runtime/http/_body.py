"""Bodies that are read piece by piece."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import final

from .._effect.misused import AsyncBlockOnly
from .._native import Effect, Headers, HttpBody
from ._failures import ProtocolError
from ._misused import BodyOnly

__all__ = ["Body", "Event", "Opening"]

#: The longest line, in bytes.
_LONGEST = 1 << 20
#: The largest event, in characters.
_LARGEST = 1 << 22


@final
class Body(BodyOnly):
    """An answer whose body is read piece by piece. It belongs to the block that opened it."""

    __slots__ = ("_body",)

    def __init__(self, body: HttpBody) -> None:
        self._body = body

    @property
    def status(self) -> int:
        return self._body.status

    @property
    def url(self) -> str:
        """The address that answered, after redirects."""
        return self._body.url

    @property
    def version(self) -> str:
        """Of HTTP: "1.0", "1.1" or "2"."""
        return self._body.version

    @property
    def headers(self) -> Headers:
        return self._body.headers

    def __repr__(self) -> str:
        return f"<Body {self.status} {self.url}>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its pieces as they come, unpacked."""
        while (piece := await self._body.next()) is not None:
            yield piece

    async def lines(self) -> AsyncIterator[str]:
        """Its lines as UTF-8, without their ends (`\\n` or `\\r\\n`); bytes that are none are replaced.

        Raises ProtocolError for a line of more than a million bytes.
        """
        rest = bytearray()  # it grows in place, however small the pieces are
        async for piece in self:
            first, *others = piece.split(b"\n")
            rest += first
            lines = [bytes(rest), *others[:-1]] if others else list[bytes]()
            if others:
                rest = bytearray(others[-1])
            if len(rest) > _LONGEST:
                raise ProtocolError(f"{self.url} sends a line of more than {_LONGEST} bytes: read it in pieces")
            for line in lines:
                yield line.removesuffix(b"\r").decode(errors="replace")
        if rest:
            yield rest.removesuffix(b"\r").decode(errors="replace")

    async def events(self) -> AsyncIterator["Event"]:
        """Its server-sent events (`text/event-stream`). One that is cut off at the end is left out.

        Raises ProtocolError for a line of more than a million bytes, or an event of more than four million characters.
        """
        name, data, last = "", StringIO(), ""
        first = True
        async for line in self.lines():
            line = line.removeprefix("\ufeff") if first else line
            first = False
            if not line:
                if data.tell():
                    yield Event(name or "message", data.getvalue()[:-1], last)
                    data = StringIO()
                name = ""
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                if data.tell() + len(value) > _LARGEST:
                    raise ProtocolError(f"{self.url} sends an event of more than {_LARGEST} characters: read its lines")
                data.write(f"{value}\n")
            elif field == "event":
                name = value
            elif field == "id" and "\0" not in value:
                last = value


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    #: Its kind: `message` where the server names none.
    event: str
    data: str
    #: The last id that the server has sent: for the header Last-Event-ID of the next request.
    id: str


@final
class Opening(AsyncBlockOnly):
    """The block of an open body."""

    __slots__ = ("_body", "_effect")

    _block = "client.open(method, url) as body"

    def __init__(self, effect: Effect[HttpBody]) -> None:
        self._effect = effect
        self._body: HttpBody | None = None

    async def __aenter__(self) -> Body:
        self._body = await self._effect
        return Body(self._body)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._body is not None:
            self._body.close()
