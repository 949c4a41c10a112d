"""Native batches as an async iterator of their items; the notes beside them go to a log."""

import logging
from collections.abc import AsyncGenerator
from typing import TypeVar

from .._native import Batches

__all__ = ["items"]

T = TypeVar("T")


async def items(batches: Batches[T], log: logging.Logger, what: str) -> AsyncGenerator[T, None]:
    """The items one by one. Their threads stop when the iterator is closed."""
    try:
        while (some := await batches.next()) is not None:
            _log_notes(batches, log, what)
            for each in some:
                yield each
    finally:
        batches.close()
        _log_notes(batches, log, what)  # those of an error, too


def _log_notes(batches: Batches[T], log: logging.Logger, what: str) -> None:
    for text, warning in batches.take_notes():
        log.log(logging.WARNING if warning else logging.DEBUG, "%s skipped %s", what, text)
