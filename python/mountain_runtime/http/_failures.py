"""The failures of requests, and which of them pass."""

import errno
from typing import Any

from .. import _native
from .._native import Response
from ..errors import MountainError, TimedOut

__all__ = ["ProtocolError", "StatusError", "Unanswered", "transient"]

#: Methods that may be sent twice (RFC 9110, 9.2.2), by the names of their effects.
_REPEATABLE = frozenset(f"http.{method}" for method in ("get", "head", "put", "delete", "options"))
#: Statuses after which the same request may succeed.
_PASSING = frozenset((429, 500, 502, 503, 504))
#: No way to the host: nothing was sent.
_NO_WAY = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT))


class StatusError(MountainError):
    """The answer's status is 400 or above."""

    def __init__(self, message: str, response: Response) -> None:
        super().__init__(message, effect=f"http.{response.method.lower()}")
        #: The whole answer.
        self.response = response

    def __reduce__(self) -> Any:
        return MountainError, (str(self),)


class ProtocolError(MountainError):
    """The answer is not HTTP, or exceeds a limit of the client: its body, its headers, its redirects."""


class Unanswered(ConnectionResetError):
    """The request was sent, and no whole answer came: it may have run."""

    def __init__(self, number: int, message: str, repeatable: bool) -> None:
        super().__init__(number, message)
        #: To send the request twice does no harm, by its method or by its Idempotency-Key.
        self.repeatable = repeatable

    def __reduce__(self) -> Any:
        return Unanswered, (*self.args, self.repeatable)


def transient(error: Exception) -> bool | float:
    """For `Retry(on=http.transient)`: whether the same request may succeed later, and do no harm.

    A connection that did not come about is tried again. Where the request may be sent twice (by its method, or by an
    Idempotency-Key), so are one without a whole answer, one that a limit of its own ended, and the statuses 429, 500,
    502, 503 and 504; the wait that a 429 or a 503 asks for is believed.
    """
    if isinstance(error, StatusError):
        response = error.response
        if response.status not in _PASSING or not response.repeatable:
            return False
        after = response.retry_after if response.status in (429, 503) else None
        return True if after is None else after
    if isinstance(error, Unanswered):
        return error.repeatable
    if isinstance(error, TimedOut):
        return error.effect in _REPEATABLE
    return isinstance(error, ConnectionError) or (type(error) in (OSError, TimeoutError) and error.errno in _NO_WAY)  # type: ignore[attr-defined]


_native.http_transient_is(transient)
