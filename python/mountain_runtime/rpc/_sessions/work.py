"""A request at work: who waits for its answer, and why it ended."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from .._commands.command import Command
from .meta import Meta

__all__ = ["Batch", "Reply", "Work"]

#: Takes the pieces of one answer.
Reply = Callable[[list[bytes]], None]


class Work:
    """A request, or a notification, which has no `reply`."""

    __slots__ = (
        "began",
        "command",
        "credit",
        "ended_by",
        "id",
        "key",
        "meta",
        "params",
        "reply",
        "tag",
        "task",
        "wakes",
    )

    def __init__(
        self,
        command: Command,
        params: "msgspec.Raw",
        key: Any,
        written_id: bytes,
        reply: Reply | None,
        meta: Meta | None,
    ) -> None:
        self.command = command
        self.params = params
        self.key = key
        self.id = written_id
        self.reply = reply
        self.meta = meta
        self.task: asyncio.Task[None] | None = None
        #: By which its end is counted; None when that is done.
        self.began: int | None = None
        #: By which its outcome is recorded.
        self.tag: tuple[str, float] | None = None
        #: Why its task was cancelled: by its caller, or because the end has come.
        self.ended_by: str | None = None
        #: Items that its caller still takes; None: as many as its connection does.
        self.credit: int | None = None if meta is None else meta.window
        self.wakes: asyncio.Future[None] | None = None


class Batch:
    """Answers that go together, when all are there."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._missing = 1
        self._pieces: list[bytes] = []

    def expect(self) -> Reply:
        """One answer more."""
        self._missing += 1
        return self._take

    def _take(self, pieces: list[bytes]) -> None:
        self._pieces += [b"," if self._pieces else b"[", *pieces]
        self.over()

    def over(self) -> None:
        """All messages have been read, or one answer is there."""
        self._missing -= 1
        if not self._missing and self._pieces:
            self._reply([*self._pieces, b"]"])
