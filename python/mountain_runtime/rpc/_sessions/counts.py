"""The figures of one caller of a router, for metrics and the live page. Without a router nothing is counted."""

from typing import Any

from .._commands.caller import Caller
from .._commands.table import Table
from .._messages import codes
from .work import Work

__all__ = ["Counts"]


class Counts:
    """Of one connection."""

    __slots__ = ("_table", "figures")

    def __init__(self, table: Table | None, caller: Caller) -> None:
        self._table = table
        self.figures = None if table is None else table.figures.caller(caller.id, caller.address)

    def begins(self, work: Work) -> None:
        """It has come; its end is counted once."""
        if self.figures is not None:
            work.began = self.figures.begin(work.command.figures)

    def ended(self, work: Work, what: str, value: Any) -> None:
        """It has ended with a "result", or with an "error" that has a code."""
        began, work.began = work.began, None
        if began is None or self.figures is None:
            return
        if what == "result":
            self.figures.succeeded(work.command.figures, began)
        else:
            self.figures.ended(work.command.figures, began, codes.ENDS[value["code"]])

    def refused(self, name: str | None, end: str) -> None:
        """A request of that name was refused at once; without a name it is no request."""
        if self._table is not None and self.figures is not None:
            command = None if name is None else self._table.commands.get(name)
            self.figures.refuse(self._table.unknown if command is None else command.figures, end)

    def close(self) -> None:
        """The connection has ended."""
        if self.figures is not None:
            self.figures.close()
