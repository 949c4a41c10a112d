"""A table: the commands of a router, and how their callers are answered."""

from typing import Any

from ..._native import RouterFigures
from .._record.record import Record
from .command import Command
from .openrpc import described

__all__ = ["Table"]


class Table:
    """One router's, which its sessions share."""

    __slots__ = ("commands", "figures", "here", "name", "record", "tracebacks", "unknown")

    def __init__(self, name: str | None, record: Record | None, *, tracebacks: bool) -> None:
        self.name = name
        self.commands: dict[str, Command] = {}
        self.record = record
        self.tracebacks = tracebacks
        self.figures = RouterFigures(name or "router")
        #: Of the program itself as a caller, and of requests that name no command.
        self.here, self.unknown = self.figures.here(), self.figures.command()

    def add(self, command: Command) -> None:
        """One more."""
        command.figures = self.figures.command(command.name)
        self.commands[command.name] = command

    def openrpc(self) -> dict[str, Any]:
        """By OpenRPC 1.3."""
        return described(self.name or "mountain-runtime", self.commands.values())
