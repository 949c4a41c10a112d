"""The codes of errors, and the errors of this package as answers and back."""

import sys
import traceback
from typing import Any, Final, TypeGuard, cast

from ... import errors
from ..._tasks.users_errors import said
from ...errors import MountainError, PeerError, RateLimited, Rejected, ShuttingDown, TimedOut

__all__ = [
    "CANCELLED",
    "ENDS",
    "FAILED",
    "INTERNAL",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "NOT_FOUND",
    "PARSE",
    "REJECTED",
    "SHUTTING_DOWN",
    "TIMED_OUT",
    "cancelled",
    "end_of",
    "not_found",
    "raised",
    "told",
    "wrong",
]

#: Of the specification.
PARSE: Final = -32700
INVALID_REQUEST: Final = -32600
NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
#: As language servers have it.
CANCELLED: Final = -32800
#: Of the range that is left to servers.
FAILED: Final = -32010
REJECTED: Final = -32011
TIMED_OUT: Final = -32012
SHUTTING_DOWN: Final = -32013

#: The ends that are counted, by the codes of answers.
ENDS: Final = {
    FAILED: "failed",
    REJECTED: "rejected",
    TIMED_OUT: "timed_out",
    CANCELLED: "cancelled",
    SHUTTING_DOWN: "shutting_down",
    INVALID_PARAMS: "wrong_params",
    NOT_FOUND: "unknown",
    INVALID_REQUEST: "invalid",
    PARSE: "invalid",
}

#: The most of a message that is told.
_LONGEST = 4096


def _code(error: BaseException) -> int:
    if isinstance(error, ShuttingDown):
        return SHUTTING_DOWN
    if isinstance(error, Rejected):
        return REJECTED
    return TIMED_OUT if isinstance(error, TimedOut) else FAILED


def end_of(error: BaseException) -> str:
    """The end that is counted of a command that raised it."""
    return ENDS[_code(error) if isinstance(error, Exception) else CANCELLED]


def told(error: BaseException, *, tracebacks: bool) -> dict[str, Any]:
    """The error object of an answer. Of a failure of the program's own: its type, its message, and no more."""
    try:
        return _told(error, tracebacks=tracebacks)
    except Exception:  # of its own properties and texts
        kind = type(error).__name__
        return {"code": FAILED, "message": f"<{kind} cannot be shown>", "data": {"type": kind}}


def _told(error: BaseException, *, tracebacks: bool) -> dict[str, Any]:
    kind = type(error)
    data: dict[str, Any] = {"type": kind.__name__}
    code = _code(error)
    if code == REJECTED:
        after = getattr(error, "retry_after", None)
        if _is_seconds(after):
            data["retry_after"] = after
    elif code == TIMED_OUT:
        data["may_have_run"] = True
    elif code == FAILED:
        if isinstance(error, PeerError):  # of a program behind this one; its data is between the two
            data["code"] = error.code
        if tracebacks:
            data["traceback"] = "".join(traceback.format_exception(error)).encode(errors="replace").decode()
    message = said(error)[:_LONGEST].encode(errors="backslashreplace").decode()
    return {"code": code, "message": message or kind.__name__, "data": data}


def _is_seconds(value: object) -> TypeGuard[int | float]:
    """A number that a float holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def not_found(name: str) -> dict[str, Any]:
    """The error object where there is no such command."""
    return {"code": NOT_FOUND, "message": f"there is no command {name[:200]!r}"}


def wrong(error: Exception) -> dict[str, Any]:
    """That of parameters that are not the command's."""
    return {"code": INVALID_PARAMS, "message": str(error)[:500]}


def cancelled(name: str) -> dict[str, Any]:
    """That of a command that was cancelled."""
    return {"code": CANCELLED, "message": f"{name} was cancelled; it may have run"}


def raised(given: object, name: str) -> MountainError:
    """The error of an answer, as one to raise: those of this package by their own classes, others as PeerError."""
    answer: dict[str, Any] = cast("Any", given) if isinstance(given, dict) else {}
    code, message, data = answer.get("code"), answer.get("message"), answer.get("data")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str):
        message, code, data = f"answered with an error that is none: {str(answer)[:200]}", INTERNAL, None
    kind = cast("dict[str, Any]", data).get("type") if isinstance(data, dict) else None
    # A ShuttingDown is a Rejected, which has not run and may be repeated.
    if code == SHUTTING_DOWN and kind == "ShuttingDown" and cast("dict[str, Any]", data).get("may_have_run") is False:
        return ShuttingDown(message, effect=name)
    if code == TIMED_OUT and kind == "TimedOut":
        return TimedOut(message, effect=name)
    if code == REJECTED and isinstance(kind, str):
        own: object = getattr(errors, kind, Rejected)
        found = (own if isinstance(own, type) and issubclass(own, Rejected) else Rejected)(message, effect=name)
        after = cast("dict[str, Any]", data).get("retry_after")
        if _is_seconds(after):
            cast("RateLimited", found).retry_after = float(after)
        return found
    return PeerError(message, effect=name, code=code, data=data)
