"""Records of a worker's loggers, sent and taken, and its spans, taken: a worker's news for the program."""

import contextlib
import logging
import logging.handlers
import pickle
from collections.abc import Callable
from typing import Any, cast

from ..telemetry import _arrived
from ._frames import FRAMES, Kind

__all__ = ["TEXT", "forward", "take"]

#: Bytes of a text.
TEXT = 8192


class _Forward(logging.handlers.QueueHandler):
    def __init__(self, send: Callable[[bytes], object]) -> None:
        super().__init__(cast("Any", send))

    def enqueue(self, record: logging.LogRecord) -> None:
        fields = {**record.__dict__, "msg": record.getMessage()[:TEXT], "message": None, "args": None}
        try:
            body = pickle.dumps(fields, 5)
        except Exception:  # the fields that cannot be pickled are left out
            plain = {key: value for key, value in fields.items() if isinstance(value, (str, int, float, type(None)))}
            body = pickle.dumps(plain, 5)
        if len(body) < FRAMES:
            with contextlib.suppress(OSError):
                cast("Callable[[bytes], object]", self.queue)(body)


def forward(level: int, send: Callable[[bytes], object]) -> None:
    """Has the loggers of this process give their records to `send`, each packed."""
    root = logging.getLogger()
    root.addHandler(_Forward(send))
    root.setLevel(level)


def take(kind: int, body: bytes | memoryview) -> None:
    """Gives a worker's record to the logger of its name, and its spans to the program's provider."""
    if kind == Kind.LOG:
        record = logging.makeLogRecord(pickle.loads(body))
        logging.getLogger(record.name).handle(record)
    elif kind == Kind.SPANS:
        _arrived.arrive(*pickle.loads(body))
