"""A command that runs in this process, as a request for it would."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import PeerError
from .._messages import codes
from .._messages.json import builtins_of, encode
from .._messages.messages import Malformed, check_call
from .._record.record import Record
from .bind import WrongParams
from .command import Command
from .table import Table

__all__ = ["call_here", "outcome_here"]

Params = Mapping[str, Any] | Sequence[Any]
#: Records an outcome.
Note = Callable[[str, Any], None]

_PLAIN = (dict, list, tuple)


async def call_here(table: Table, name: str, params: Params) -> Any:
    """Its value, recorded if there is a record. Raises what it raises, and PeerError for what is no call."""
    command, here = table.commands.get(name), table.here
    if command is None or type(params) not in _PLAIN:
        check_call(name, params)
    note = None if table.record is None else _noted(table.record, name, params)
    try:
        if command is None:
            raise WrongParams(codes.not_found(name)["message"])
        args, kwargs = command.bound.given(params)
    except WrongParams as error:
        raise _refused(table, command, note, error) from None
    began = here.begin(command.figures)
    try:
        if command.streams:
            async with command.runs(*args, **kwargs) as items:
                value: Any = [builtins_of(item) async for item in items]
        else:
            value = builtins_of(await command.runs(*args, **kwargs))
    except BaseException as error:
        here.ended(command.figures, began, codes.end_of(error))
        if note is not None and isinstance(error, asyncio.CancelledError):
            note("error", codes.cancelled(name))
        elif note is not None and isinstance(error, Exception):
            note("error", codes.told(error, tracebacks=table.tracebacks))
        raise
    here.succeeded(command.figures, began)
    if note is not None:
        note("result", encode(len(value) if command.streams else value))
    return value


def _noted(record: Record, name: str, params: Params) -> Note | None:
    """Records the call. Gives what records its outcome; None where the parameters are no JSON: the call says so."""
    try:
        written = encode(params)
    except Exception:
        return None
    loop = asyncio.get_running_loop()
    tag = record.begins(name, written, None, loop)
    return lambda what, value: record.ended(tag, name, what, value, loop)


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


def _refused(table: Table, command: Command | None, note: Note | None, error: WrongParams) -> PeerError:
    """The error of a call that has not begun, counted and recorded."""
    if command is None:
        table.here.refuse(table.unknown, "unknown")
    else:
        table.here.refuse(command.figures, "wrong_params")
    code = codes.NOT_FOUND if command is None else codes.INVALID_PARAMS
    if note is not None:
        note("error", {"code": code, "message": str(error)})
    return PeerError(str(error), code=code)
