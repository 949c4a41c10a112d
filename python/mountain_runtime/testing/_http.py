"""Requests that a test answers, without sockets."""

import inspect
import json as _json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .. import _native
from ..policy._given import shown

if TYPE_CHECKING:
    from .._native import Response

__all__ = ["Reply", "Request", "http"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client makes it."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return _json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a test. `json` is an object to send as JSON in place of `body`.

    A body of several pieces is for `Client.open`, which reads them one by one.
    """

    status: int = 200
    body: bytes | Iterable[bytes] | AsyncIterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    json: Any = None

    def __post_init__(self) -> None:
        status, body = cast("object", self.status), cast("object", self.body)
        if not isinstance(status, int):
            raise TypeError(f"Reply(status={shown(status)}): must be a whole number, such as 404")
        if isinstance(body, str):
            raise TypeError("Reply(body=) takes bytes, or pieces of them, not str: write body=text.encode()")
        if isinstance(body, Mapping):
            raise TypeError("Reply(body=) takes bytes, or pieces of them: write json= for an object")
        for name, value in self.headers.items():
            if not isinstance(cast("object", value), str):
                raise TypeError(f"Reply(headers={{{name!r}: {shown(value)}}}): takes texts, write {str(value)!r}")


Answer = Callable[[Request], Reply | Awaitable[Reply]]


def http(answer: Answer) -> AbstractContextManager[list[Request]]:
    """In the block, `answer` takes the place of the network for all clients of `mountain_runtime.http`.

    It is called with each request, and returns a Reply or raises what the request raises; it may be a coroutine
    function, whose sleeps are in virtual time under the fixture `virtual_clock`. Policies work as they do with a
    server. Redirects are answers like others; cookies are not kept. The block's value is the list of the requests,
    which grows.
    """
    _native.needs("http")
    if not callable(answer):
        raise TypeError(
            f"testing.http() takes a function of a Request, as lambda request: testing.Reply(...), not {shown(answer)}"
        )
    return _Answers(answer)


class _Answers(AbstractContextManager[list[Request]]):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._requests: list[Request] = []
        self._before: Callable[..., object] | None = None

    def __enter__(self) -> list[Request]:
        self._before = _native.http_answers_with(self._pretend)
        return self._requests

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        _native.http_answers_with(self._before)

    async def _pretend(
        self,
        trace: list[tuple[str, str]],
        kind: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        check: bool,
        repeatable: bool,
        *args: Any,
    ) -> object:
        more = {name: text for name, text in trace if name.lower() not in headers}
        request = Request(method, url, {**headers, **more} if more else headers, content)
        self._requests.append(request)
        said = self._answer(request)
        reply = await said if inspect.isawaitable(said) else said
        if not isinstance(cast("object", reply), Reply):
            raise TypeError(f"the function of testing.http() gives a testing.Reply, not {shown(reply)}")
        fails = check and reply.status >= 400
        if kind == "open" and not fails:
            return _Body(url, reply)
        response = _native.http_response(
            method, url, reply.status, list(_headers(reply).items()), await _whole(reply), repeatable
        )
        if fails:
            response.raise_for_status()
        if kind == "download":
            Path(args[1]).write_bytes(response.content)  # noqa: ASYNC240 - a small file of a test
            if args[2] is not None:
                _native.http_progressed(args[2], len(response.content))
            return len(response.content)
        return response


def _headers(reply: Reply) -> dict[str, str]:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return headers if reply.json is None else {"content-type": "application/json"} | headers


async def _pieces(reply: Reply) -> AsyncIterator[bytes]:
    if reply.json is not None:
        yield _json.dumps(reply.json).encode()
    elif isinstance(reply.body, bytes):
        if reply.body:
            yield reply.body
    elif isinstance(reply.body, AsyncIterator):
        async for piece in reply.body:
            yield piece
    else:
        for piece in reply.body:
            yield piece


async def _whole(reply: Reply) -> bytes:
    return b"".join([piece async for piece in _pieces(reply)])


class _Body:
    """An open body, as the native one."""

    version = "1.1"

    def __init__(self, url: str, reply: Reply) -> None:
        response: Response = _native.http_response("GET", url, reply.status, list(_headers(reply).items()), b"", False)
        self.status, self.url, self.headers = response.status, response.url, response.headers
        self._pieces: AsyncIterator[bytes] | None = _pieces(reply)

    async def next(self) -> bytes | None:
        return None if self._pieces is None else await anext(self._pieces, None)

    def close(self) -> None:
        self._pieces = None
