"""Messages of JSON-RPC 2.0: what comes is taken apart without being read, what goes is put together as bytes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from . import codes
from .json import encode

__all__ = [
    "Envelope",
    "Invalid",
    "Malformed",
    "Unanswerable",
    "answer",
    "check_call",
    "failure",
    "key_of",
    "message",
    "open_batch",
    "open_message",
    "refusal",
]

T = TypeVar("T")
_NONE = msgspec.Raw()
_decode = msgspec.json.decode


class Envelope(msgspec.Struct, gc=False, rename={"meta": "$meta"}):
    """The members of a message as they are written; empty where there are none."""

    jsonrpc: Any = None
    id: msgspec.Raw = _NONE
    method: str | UnsetType = UNSET
    params: msgspec.Raw = _NONE
    result: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE
    meta: msgspec.Raw = _NONE


class Malformed(ValueError):
    """No JSON."""


class Invalid(ValueError):
    """JSON that is no message."""


class Unanswerable(Invalid):
    """An error with its id would be taken for the answer to another request."""


class _Id(msgspec.Struct):
    id: msgspec.Raw = _NONE


#: Messages in one batch.
_BATCH = 1000

_envelope = msgspec.json.Decoder(Envelope)
_id = msgspec.json.Decoder(_Id)
#: A batch, which is read no further than its bound.
_batch = msgspec.json.Decoder(
    msgspec.defstruct(
        "Batch",
        [(f"m{place}", msgspec.Raw, _NONE) for place in range(_BATCH)],
        array_like=True,
        forbid_unknown_fields=True,
        gc=False,
    )
)


def open_message(body: "bytes | bytearray | msgspec.Raw") -> Envelope:
    """One message. Raises Malformed, or Invalid for JSON that is no object."""
    return _read(_envelope, body)


def open_batch(body: "bytes | bytearray") -> list[msgspec.Raw] | None:
    """The messages of a batch; None for what is none. Raises Malformed, or Invalid for an empty or a long one."""
    if body[:1] == b"{" or body.lstrip(b" \t\r\n")[:1] != b"[":
        return None
    try:
        found = [each for each in astuple(_read(_batch, body)) if each]
    except Invalid:
        raise Invalid(f"a batch of more than {_BATCH} messages") from None
    if not found:
        raise Invalid("an empty batch")
    return found


def _read(decoder: "msgspec.json.Decoder[T]", body: "bytes | bytearray | msgspec.Raw") -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None


def key_of(written: bytes) -> "str | float | None":
    """An id as a value, by which it is found again: "1" and 1 are two. Raises Invalid, or Malformed."""
    try:
        if len(written) < 20 and written.isdigit():
            return int(written)
        found: object = _decode(written)
    except msgspec.ValidationError:  # a number of no use
        raise Invalid("an id that is out of range") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    if found is None or isinstance(found, str) or (isinstance(found, (int, float)) and not isinstance(found, bool)):
        return found
    raise Invalid("an id is a text, a number or null")


def id_of(body: "bytes | bytearray | msgspec.Raw") -> bytes:
    """The id, as it is written, of what is Invalid; null where it cannot be told."""
    try:
        written = bytes(_id.decode(body).id)
        key_of(written)
    except (msgspec.DecodeError, RecursionError, Invalid, Malformed):
        return b"null"
    return written


def check_call(name: object, params: object) -> None:
    """TypeError for what a request cannot have: a text is a sequence of parameters only to type checkers."""
    if not isinstance(name, str):
        raise TypeError(f"{name!r} was not called: the name of a command is a str, not {type(name).__qualname__}")
    kind: type[object] = type(params)
    if kind is dict or kind is list or kind is tuple:
        return
    if isinstance(params, (str, bytes, bytearray)) or not isinstance(params, (Mapping, Sequence)):
        raise TypeError(
            f"{name!r} was not called: its parameters are of type {kind.__qualname__}. Give a list of them, or a "
            "dict by their names"
        )


def message(name: str, params: "Mapping[str, Any] | Sequence[Any]", **members: Any) -> bytes:
    """A request, where `id` is among the members, or a notification."""
    found: dict[str, Any] = {"jsonrpc": "2.0"}
    if "id" in members:
        found["id"] = members.pop("id")
    found["method"] = name
    if params:
        found["params"] = params
    for member, value in members.items():
        found[f"${member}"] = value
    return encode(found)


def answer(written_id: bytes, result: bytes) -> list[bytes]:
    """An answer, in pieces that are not copied."""
    return [b'{"jsonrpc":"2.0","id":%b,"result":' % written_id, result, b"}"]


def failure(written_id: bytes, error: dict[str, Any]) -> list[bytes]:
    """An answer that is an error. Data that JSON does not have is left out."""
    try:
        told = encode(error)
    except Exception:
        told = encode({"code": error["code"], "message": error["message"]})
    return [b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (written_id, told)]


def refusal(error: Exception, body: "bytes | bytearray | msgspec.Raw" = b"") -> list[bytes]:
    """The answer to a message that is Malformed or Invalid."""
    malformed = isinstance(error, Malformed)
    said = ("no JSON: " if malformed else "no request: ") + str(error)
    told = {"code": codes.PARSE if malformed else codes.INVALID_REQUEST, "message": said[:500]}
    return failure(b"null" if malformed or isinstance(error, Unanswerable) else id_of(body), told)
