"""The parameters of a command: from JSON, by name or by position, as its annotations say."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from ..._effect.need import Need
from ...errors import ConfigError
from .._messages.json import from_json
from .._messages.messages import Malformed
from .defaults import fill, has_defaults

__all__ = ["Binding", "WrongParams", "binding"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


#: Bytes of parameters that are copied rather than looked at in their place.
_COPIED = 256


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

    def __init__(self, command: str, parameters: list[Parameter], *, fills: bool, settings: dict[str, Any]) -> None:
        self._fills = fills
        # Each setting costs more than the rest, where no type needs it.
        self._convert: Callable[[Any, Any], Any] = partial(msgspec.convert, **settings) if settings else msgspec.convert
        self.parameters = parameters
        self._first = [each.name for each in parameters if each.positional_only]
        self._optional = [each.name for each in parameters if not each.required]
        in_order = [each for each in parameters if each.by_position]
        self._by_name_only = [each.name for each in parameters if each.required and not each.by_position]
        try:
            self._named = msgspec.json.Decoder(self._struct("Named", parameters, array_like=False), dec_hook=from_json)
            self._listed = msgspec.json.Decoder(self._struct("Listed", in_order, array_like=True), dec_hook=from_json)
        except TypeError as error:
            raise ConfigError(f"the command {command!r} has parameters that no JSON can give: {error}") from None

    def _struct(self, name: str, parameters: list[Parameter], *, array_like: bool) -> type[msgspec.Struct]:
        fields = [
            (each.name, each.type) if each.required else (each.name, each.type | UnsetType, UNSET)
            for each in sorted(parameters, key=lambda each: not each.required)
        ]
        return msgspec.defstruct(
            name,
            cast("Any", fields),
            array_like=array_like,
            forbid_unknown_fields=True,
            kw_only=not array_like,
            gc=False,
        )

    def arguments(self, params: "msgspec.Raw | bytes") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of what a request has. Raises WrongParams, or Malformed for what is no JSON."""
        written = bytes(params) if len(params) < _COPIED else memoryview(params)
        if not written or written == b"null":
            written = b"{}"
        try:
            if written[0] != ord("["):
                return self._called(self._named.decode(written))
            return self._in_order(self._listed.decode(written))
        except msgspec.ValidationError as error:
            raise WrongParams(_without_fields(str(error))) from None
        except RecursionError:
            raise Malformed("nested too deep") from None
        except msgspec.DecodeError as error:
            raise Malformed(str(error)) from None

    def given(self, params: Mapping[str, Any] | Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same of values in this process, of which JSON could be made."""
        try:
            kind: type[object] = type(params)
            if kind is dict:
                return self._called(self._convert(params, self._named.type))
            if kind is not list and isinstance(params, Mapping):
                return self._called(self._convert(dict(params), self._named.type))
            return self._in_order(self._convert(list(params), self._listed.type))
        except msgspec.ValidationError as error:
            raise WrongParams(_without_fields(str(error))) from None

    def _in_order(self, struct: msgspec.Struct) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._by_name_only:
            raise WrongParams(f"missing parameter `{self._by_name_only[0]}`: it goes by name, so give all by name")
        return self._called(struct)

    def _called(self, struct: msgspec.Struct) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._fills:
            fill(struct)
        named = asdict(struct)
        for name in self._optional:
            if named.get(name) is UNSET:
                del named[name]
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
        if each.name == "self" and not parameters and each.annotation is each.empty:
            raise ConfigError(
                f"the command {command!r} is a method without its object: register that of an object, as in "
                f"router.command({command!r})(shop.{plain.__name__})"
            )
        if each.name.startswith("__"):
            raise ConfigError(
                f"the command {command!r} has the parameter {each.name}: give it a name without two underscores"
            )
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
    settings: dict[str, Any] = {}
    if any(isinstance(each, msgspec.inspect.CustomType) for each in kinds):
        settings["dec_hook"] = from_json
    if any(isinstance(each, msgspec.inspect.DictType) and not _is_text(each.key_type) for each in kinds):
        settings["str_keys"] = True  # as they are in JSON
    return Binding(command, parameters, fills=has_defaults(kinds), settings=settings)


def _is_text(key: msgspec.inspect.Type) -> bool:
    return isinstance(key, (msgspec.inspect.StrType, msgspec.inspect.AnyType))


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
