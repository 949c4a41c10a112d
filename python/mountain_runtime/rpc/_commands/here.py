"""A command that runs in this process, as a request for it would."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import PeerError
from .._messages import codes
from .._messages.json import builtins_of, encode
from .._messages.messages import Malformed
from .bind import WrongParams
from .command import Command
from .table import Table

__all__ = ["call_here", "outcome_here"]

Params = Mapping[str, Any] | Sequence[Any]


async def call_here(table: Table, name: str, params: Params) -> Any:
    """Its value, recorded if there is a record. Raises what it raises, and PeerError for what is no call."""
    command = table.commands.get(name)
    written = None
    if table.record is not None:
        with contextlib.suppress(Exception):  # no JSON: the call itself says so
            written = encode(params)
    if table.record is None or written is None:
        found, args, kwargs = _bound(command, name, params)
        if found.streams:
            return await _run(found, args, kwargs)
        return builtins_of(await found.runs(*args, **kwargs))  # and not by `_run`, which costs a coroutine
    loop, record = asyncio.get_running_loop(), table.record
    tag = record.begins(name, written, None, loop)
    try:
        found, args, kwargs = _bound(command, name, params)
    except PeerError as error:
        record.ended(tag, name, "error", {"code": error.code, "message": error.message}, loop)
        raise
    try:
        value = await _run(found, args, kwargs)
    except asyncio.CancelledError:
        record.ended(tag, name, "error", codes.cancelled(name), loop)
        raise
    except Exception as error:
        record.ended(tag, name, "error", codes.told(error, tracebacks=table.tracebacks), loop)
        raise
    record.ended(tag, name, "result", encode(len(value) if found.streams else value), loop)
    return value


async def outcome_here(command: Command | None, name: str, params: bytes) -> tuple[bytes | None, dict[str, Any] | None]:
    """The result of a request with these parameters as JSON, or its error. Of a stream it is the number of items."""
    if command is None:
        return None, codes.not_found(name)
    try:
        args, kwargs = command.bound.arguments(params)
        if not command.streams:
            return encode(await command.runs(*args, **kwargs)), None
        number = 0
        async with command.runs(*args, **kwargs) as items:
            async for item in items:
                encode(item)
                number += 1
        return encode(number), None
    except Malformed as error:
        return None, {"code": codes.PARSE, "message": f"no JSON: {error}"[:500]}
    except WrongParams as error:
        return None, codes.wrong(error)
    except Exception as error:
        return None, codes.told(error, tracebacks=False)


def _bound(command: Command | None, name: str, params: Params) -> tuple[Command, tuple[Any, ...], dict[str, Any]]:
    if command is None:
        raise PeerError(codes.not_found(name)["message"], code=codes.NOT_FOUND)
    try:
        return command, *command.bound.given(params)
    except WrongParams as error:
        raise PeerError(str(error), code=codes.INVALID_PARAMS) from None


async def _run(command: Command, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not command.streams:
        return builtins_of(await command.runs(*args, **kwargs))
    async with command.runs(*args, **kwargs) as items:
        return [builtins_of(item) async for item in items]
