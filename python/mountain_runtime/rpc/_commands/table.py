"""A table: the commands of a router, and how their callers are answered."""

from typing import Any

from .._record.record import Record
from .command import Command
from .openrpc import described

__all__ = ["Table"]


class Table:
    """One router's, which its sessions share."""

    __slots__ = ("commands", "name", "record", "tracebacks")

    def __init__(self, name: str | None, record: Record | None, *, tracebacks: bool) -> None:
        self.name = name
        self.commands: dict[str, Command] = {}
        self.record = record
        self.tracebacks = tracebacks

    def openrpc(self) -> dict[str, Any]:
        """By OpenRPC 1.3."""
        return described(self.name or "mountain-runtime", self.commands.values())
