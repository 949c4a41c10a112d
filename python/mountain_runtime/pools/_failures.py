"""Errors on their way between processes: each comes back as itself where pickle can build it anew."""

import contextlib
import pickle
import traceback
from types import TracebackType
from typing import cast

from .._tasks.exits import EXITS
from ..errors import RemoteError, WorkerLost

__all__ = ["RemoteTraceback", "copy_of", "packed", "unpacked", "unreadable", "worker_lost"]


#: Bytes of an error that goes as itself: with its texts it fits into a packet.
_MOST = 48 << 10


class RemoteTraceback(Exception):
    """The traceback of a worker, as text: the cause of the error that came from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def packed(error: BaseException) -> bytes:
    """An error with its traceback. One that pickle cannot build anew goes as text alone."""
    try:
        # Without the frames of this package, in which its function was called.
        text = "".join(traceback.format_exception(type(error), error, _users(error)))
    except BaseException as failure:
        text = f"(its traceback cannot be shown: {type(failure).__name__})"
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    try:
        message = str(error)
    except BaseException as failure:
        message = f"(its __str__ raised {type(failure).__name__})"
    itself = b""
    if not isinstance(error, EXITS):  # those would end the program of the caller
        with contextlib.suppress(BaseException):
            pickled = pickle.dumps(error, 5)
            if len(pickled) <= _MOST and type(pickle.loads(pickled)) is type(error):
                itself = pickled
    return pickle.dumps((itself, kind, message[:4096], text[-8192:]), 5)


def unpacked(body: bytes | memoryview, effect: str) -> BaseException:
    """The error of a message."""
    itself, kind, message, text = cast("tuple[bytes, str, str, str]", pickle.loads(body))
    error: BaseException | None = None
    if itself:
        with contextlib.suppress(BaseException):
            error = pickle.loads(itself)
    if not isinstance(error, BaseException):
        error = RemoteError(f"{kind}: {message}", effect=effect)
        error.type, error.text, error.traceback = kind, message, text
    with contextlib.suppress(Exception):  # a frozen one stays as it is
        error.__cause__ = RemoteTraceback(text)
    return error


def worker_lost(effect: str, policy: str, worker: object, why: str) -> WorkerLost:
    """The error of a call that its worker had begun."""
    lost = WorkerLost(
        f"its worker {worker} was lost: {why}. It may have run, in part or to its end: "
        "Retry(on=WorkerLost) outside of On runs it again, where it may run twice",
        effect=effect,
        policy=policy,
    )
    lost.may_have_run = True
    return lost


def copy_of(error: Exception, effect: str) -> Exception:
    """The same error for each call, as each gets a traceback of its own."""
    return type(error)(str(error), effect=effect)  # type: ignore[call-arg]


def unreadable(error: BaseException, effect: str) -> RemoteError:
    """The error of a result that does not unpickle."""
    failure = RemoteError(
        f"the result did not unpickle here: {type(error).__name__}: {error}. The function has run", effect=effect
    )
    failure.type, failure.text = type(error).__qualname__, str(error)
    return failure


def _users(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame that is not of this package."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_globals.get("__name__", "").startswith("mountain_runtime"):
        at = at.tb_next
    return at or error.__traceback__
