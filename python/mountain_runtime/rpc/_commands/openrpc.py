"""The description of a router by OpenRPC 1.3: its commands, with the schemas of their parameters and results."""

import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any

from .._messages import codes
from .command import Command
from .schemas import Schemas

__all__ = ["described"]

_ERRORS = {
    codes.INVALID_PARAMS: "the parameters are not the command's",
    codes.FAILED: "the command failed: data has the type of its error",
    codes.REJECTED: "it was not started: data may have retry_after, in seconds",
    codes.TIMED_OUT: "it ran out of time, and may have run",
    codes.SHUTTING_DOWN: "the host shuts down: data says whether it may have run",
    codes.CANCELLED: "it was cancelled",
}


def described(title: str, commands: Iterable[Command]) -> dict[str, Any]:
    """As plain JSON."""
    found = list(commands)
    kinds: list[Any] = []
    for command in found:
        kinds += [each.type for each in command.bound.parameters]
        kinds.append(_result(command))
    schemas = Schemas(kinds)
    methods = [_method(command, schemas.next) for command in found]
    described: dict[str, Any] = {
        "openrpc": "1.3.2",
        "info": {"title": title, "version": "1"},
        "methods": methods,
    }
    if schemas.components:
        described["components"] = {"schemas": schemas.components}
    return described


def _method(command: Command, schema: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    params: list[dict[str, Any]] = []
    for each in command.bound.parameters:
        params.append({"name": each.name, "required": each.required, "schema": schema()})
    params.sort(key=lambda each: not each["required"])  # as OpenRPC wants them
    by_position = all(each.by_position for each in command.bound.parameters)
    in_order = [each.name for each in command.bound.parameters] == [each["name"] for each in params]
    method: dict[str, Any] = {
        "name": command.name,
        "params": params,
        "paramStructure": "either" if by_position and in_order else "by-name",
    }
    said = inspect.getdoc(inspect.unwrap(command.function)) or ""
    if said:
        method["summary"] = said.partition("\n")[0]
        method["description"] = said
    result = schema()
    if command.streams:
        method["x-streaming"] = {"items": result}
        result = {"type": "integer", "description": "the number of items, which went before by $/progress"}
    method["result"] = {"name": "items" if command.streams else "result", "schema": result}
    method["errors"] = [{"code": code, "message": said} for code, said in _ERRORS.items()]
    return method


def _result(command: Command) -> Any:
    """The type of the value, or of an item; Any where the annotation cannot be read."""
    plain = inspect.unwrap(getattr(command.function, "__func__", command.function))
    try:
        kind = typing.get_type_hints(plain, include_extras=True).get("return", Any)
    except Exception:
        return Any
    return (typing.get_args(kind) or (Any,))[0] if command.streams else kind
