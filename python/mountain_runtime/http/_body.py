"""Bodies that are read piece by piece."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, final

from .._effect.misused import AsyncBlockOnly
from .._native import Effect, Headers, HttpBody
from ._events import Event, Events, Lines
from ._failures import ProtocolError
from ._misused import BodyOnly

__all__ = ["Body", "Event", "Opening"]

#: The longest line, in bytes.
_LONGEST = 1 << 20
#: The largest event, in characters.
_LARGEST = 1 << 22


@final
class Body(BodyOnly):
    """An answer whose body is read piece by piece. It belongs to the block that opened it.

    Raises ValueError where it is read after its block, or once more after it has failed.
    """

    __slots__ = ("_body", "_events", "_lines")

    def __init__(self, body: HttpBody) -> None:
        self._body = body
        self._lines = Lines()
        self._events = Events()

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
        """Its pieces as they come, unpacked. The rest of a piece whose lines were read comes first."""
        if kept := self._lines.take_all():
            yield kept
        while (piece := await self._body.next()) is not None:
            yield piece

    async def lines(self) -> AsyncIterator[str]:
        """Its lines as UTF-8, without their ends (`\\n` or `\\r\\n`); bytes that are none are replaced.

        A loop that is left, or cancelled, has lost nothing: the next one goes on. Raises ProtocolError for a line of
        more than a million bytes.
        """
        async for line in self._each(lone=False):
            yield line.removesuffix(b"\r").decode(errors="replace")

    async def events(self) -> AsyncIterator[Event]:
        """Its server-sent events (`text/event-stream`). One that is cut off at the end is left out.

        A loop that is left, or cancelled, has lost nothing: the next one goes on. Raises ProtocolError for a line of
        more than a million bytes, or an event of more than four million characters.
        """
        async for line in self._each(lone=True):
            event = self._events.take(line.decode(errors="replace"))
            if self._events.size() > _LARGEST:
                raise ProtocolError(f"{self.url} sends an event of more than {_LARGEST} characters: read its lines")
            if event is not None:
                yield event

    async def _each(self, *, lone: bool) -> AsyncIterator[bytes]:
        """The lines, each without its `\\n`; `lone`: a `\\r` by itself ends one, too."""
        lines = self._lines
        while True:
            while lines.whole:
                yield lines.whole.popleft()
            piece = await self._body.next()
            if piece is None:
                break
            lines.put(piece, lone=lone)
            if len(lines.rest) > _LONGEST:
                raise ProtocolError(f"{self.url} sends a line of more than {_LONGEST} bytes: read it in pieces")
        if rest := lines.take_all():
            yield rest


@final
class Opening(AsyncBlockOnly):
    """The block of an open body."""

    __slots__ = ("_body", "_effect", "_entered")

    _block = "client.open(method, url) as body"

    def __init__(self, effect: Effect[HttpBody]) -> None:
        self._effect = effect
        self._entered = False
        self._body: HttpBody | None = None

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            # The error says what is wrong: a warning that the request was never awaited would say it again.
            self._effect.close()
            super().__enter__()

        def __aiter__(self) -> NoReturn:
            self._effect.close()
            raise TypeError(
                f"a body is opened first: write `async with {self._block}:`, and in it `async for piece in body:`"
            )

    async def __aenter__(self) -> Body:
        if self._entered:
            raise RuntimeError("a client.open() is entered once: make another")
        self._entered = True
        self._body = await self._effect
        return Body(self._body)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._body is None:
            return
        try:
            self._body.close()
        except ValueError:
            # A coroutine that is collected with its loop was not cancelled: its own read ends behind it, and the body
            # goes with that.
            if kind is not GeneratorExit:
                raise
