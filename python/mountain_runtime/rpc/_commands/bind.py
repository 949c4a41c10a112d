"""The parameters of a command: from JSON, by name or by position, as its annotations say."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from ..._effect.need import Need
from ...errors import ConfigError
from .._messages.json import from_json
from .._messages.messages import Malformed
from .defaults import fill, has_defaults

__all__ = ["Binding", "WrongParams", "binding"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


class WrongParams(ValueError):
    """They are not the command's."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that callers give."""

    name: str
    type: Any
    required: bool
    by_position: bool
    positional_only: bool
    #: Stands in for it, if it is not required; binding leaves it to the function.
    default: Any


class Binding:
    """Makes a call's arguments of what a caller sent."""

    def __init__(self, command: str, parameters: list[Parameter], *, fills: bool) -> None:
        self._fills = fills
        self.parameters = parameters
        self._first = [each.name for each in parameters if each.positional_only]
        #: In the names of the fields there is nothing that a Struct has itself.
        self._fields = {each.name: f"p{place}" for place, each in enumerate(parameters)}
        by_position = [each for each in parameters if each.by_position]
        try:
            by_name = self._struct("Named", parameters, array_like=False)
            in_order = self._struct("Listed", by_position, array_like=True)
            self._named = msgspec.json.Decoder(by_name, dec_hook=from_json)
            self._listed = msgspec.json.Decoder(in_order, dec_hook=from_json)
        except TypeError as error:
            raise ConfigError(f"the command {command!r} has parameters that no JSON can give: {error}") from None
        self._places = [each.name for each in by_position]

    def _struct(self, name: str, parameters: list[Parameter], *, array_like: bool) -> type[msgspec.Struct]:
        fields = [
            (self._fields[each.name], each.type)
            if each.required
            else (self._fields[each.name], each.type | UnsetType, UNSET)
            for each in sorted(parameters, key=lambda each: not each.required)
        ]
        return msgspec.defstruct(
            name,
            cast("Any", fields),
            rename={self._fields[each.name]: each.name for each in parameters},
            array_like=array_like,
            forbid_unknown_fields=True,
            kw_only=not array_like,
            gc=False,
        )

    def arguments(self, params: "msgspec.Raw | bytes") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of what a request has. Raises WrongParams, or Malformed for what is no JSON."""
        written = bytes(params) if len(params) < 256 else params
        if not written or written == b"null":
            written = b"{}"
        first = bytes(memoryview(written)[:1])
        try:
            if first == b"[":
                return self._called(self._listed.decode(written), self._places)
            return self._called(self._named.decode(written), self._fields)
        except msgspec.ValidationError as error:
            raise WrongParams(_without_fields(str(error))) from None
        except RecursionError:
            raise Malformed("nested too deep") from None
        except msgspec.DecodeError as error:
            raise Malformed(str(error)) from None

    def given(self, params: Mapping[str, Any] | Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same of values in this process, of which JSON could be made."""
        try:
            if isinstance(params, Mapping):
                params = params if type(params) is dict else dict(params)  # pyright: ignore[reportUnknownVariableType]
                struct = msgspec.convert(params, self._named.type, dec_hook=from_json)
                return self._called(struct, self._fields)
            struct = msgspec.convert(list(params), self._listed.type, dec_hook=from_json)
            return self._called(struct, self._places)
        except msgspec.ValidationError as error:
            raise WrongParams(_without_fields(str(error))) from None

    def _called(
        self, struct: msgspec.Struct, names: "list[str] | dict[str, str]"
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._fills:
            fill(struct)
        named: dict[str, Any] = {}
        for name in names:
            value = getattr(struct, self._fields[name])
            if value is not UNSET:
                named[name] = value
        if not self._first:
            return (), named
        before: list[Any] = []
        for name in self._first:
            if name not in named:
                break
            before.append(named.pop(name))
        if left := [name for name in self._first if name in named]:
            raise WrongParams(f"{left[0]} is given without the parameters before it")
        return tuple(before), named


def _without_fields(message: str) -> str:
    return message.replace("Object missing required field", "missing parameter").replace(
        "Object contains unknown field", "there is no parameter"
    )


def binding(command: str, function: Callable[..., Any]) -> Binding:
    """Of a function, whose needs are not the caller's. Raises ConfigError for parameters that callers cannot give."""
    plain = inspect.unwrap(function.__func__ if inspect.ismethod(function) else function)
    signature = inspect.signature(plain)
    try:
        hints = typing.get_type_hints(plain, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"the command {command!r} has annotations that cannot be read: {error}") from None
    parameters: list[Parameter] = []
    kinds: list[msgspec.inspect.Type] = []
    for each in list(signature.parameters.values())[inspect.ismethod(function) :]:
        if isinstance(each.default, Need):
            continue
        if each.kind not in _NAMED:
            raise ConfigError(f"the command {command!r} takes {each}: give each parameter a name of its own")
        kind = hints.get(each.name, Any)
        kinds += _checked(kind, command, each.name)
        parameters.append(
            Parameter(
                each.name,
                kind,
                each.default is each.empty,
                each.kind in _POSITIONAL,
                each.kind is each.POSITIONAL_ONLY,
                each.default,
            )
        )
    return Binding(command, parameters, fills=has_defaults(kinds))


def _checked(kind: Any, command: str, name: str) -> list[msgspec.inspect.Type]:
    """The types that stand in it. A ConfigError for those of which no JSON is known."""
    try:
        found = _types(msgspec.inspect.type_info(kind))
    except TypeError as error:
        raise ConfigError(f"the command {command!r} has the parameter {name}: {error}") from None
    for each in found:
        if not isinstance(each, msgspec.inspect.CustomType):
            continue
        own: Any = cast("Any", each).cls
        if hasattr(own, "model_validate") or (isinstance(own, type) and issubclass(own, PurePath)):
            continue
        shown: object = getattr(cast("Any", own), "__qualname__", str(cast("object", each)))
        raise ConfigError(
            f"the command {command!r} has the parameter {name}, of a type that no JSON can give: {shown}. Take a "
            "dataclass or a plain type; a service of the runtime has need(...) as its default"
        )
    return found


def _types(of: object) -> list[msgspec.inspect.Type]:
    found: list[msgspec.inspect.Type] = []
    seen: set[int] = set()
    left: list[Any] = [of]
    while left:
        part = left.pop()
        if isinstance(part, (tuple, list)):
            left += part
        elif isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, msgspec.inspect.Type):
                found.append(part)
            left += [getattr(part, name) for name in part.__struct_fields__]
    return found
