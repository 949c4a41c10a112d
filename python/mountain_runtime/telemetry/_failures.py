"""The last failures of effects, with their tracebacks, for the live page: as text, so no call is kept alive."""

import time
import traceback

from .. import _native
from .._tasks import users_errors as _users_errors

__all__ = ["note", "said", "shown"]

#: Tracebacks a second, at most; of what fails more often, the first ones tell as much.
_MOST = 20
#: Characters of a traceback, and of a message.
_LONG = 8_000
_SHORT = 500

_second = 0
_noted = 0


def note(effect: str, kind: str, error: BaseException) -> None:
    """A call of `effect` has failed."""
    global _second, _noted
    now = int(time.monotonic())
    if now != _second:
        _second, _noted = now, 0
    _noted += 1
    if _noted > _MOST:
        return
    _native.note_failure(effect, kind, said(error), shown(_traced(error), _LONG))


def said(error: BaseException) -> str:
    """The error's text, whatever its own code does."""
    return shown(_users_errors.said(error))


def _traced(error: BaseException) -> str:
    try:
        return "".join(traceback.TracebackException.from_exception(error, limit=-20, compact=True).format())
    except Exception:  # an error's own code may fail
        return f"<the traceback of {type(error).__name__} cannot be shown>"


def shown(text: str, most: int = _SHORT) -> str:
    """A text of so many characters at most, without what UTF-8 cannot say, as in names of files."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[: most // 2] + "\n[...]\n" + text[-most // 2 :]
