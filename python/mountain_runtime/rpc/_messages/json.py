"""Values as JSON and back: what msgspec knows, models of pydantic, paths, and the values of this package."""

import os
import pathlib
from typing import Any, cast

import msgspec

__all__ = ["builtins_of", "encode", "from_json", "to_json"]


def to_json(value: Any) -> Any:
    """For the encoder: a value that it does not know, as one that it does. Raises TypeError where there is none."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    kind: type[object] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind.__module__.partition(".")[0] == "mountain_runtime" and (names := getattr(kind, "__match_args__", ())):
        return {name: getattr(value, name) for name in names}
    raise TypeError(f"a value of type {kind.__qualname__} is no JSON: give a dataclass, or what else msgspec encodes")


def from_json(kind: Any, value: Any) -> Any:
    """For the decoder: a parameter whose type it does not know. Raises ValueError or TypeError."""
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate(value)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        if not isinstance(value, str):
            raise TypeError(f"a path is a text, not {type(value).__name__}")
        return kind(value)
    raise TypeError(f"{kind!r} is made of no JSON")


_encoder = msgspec.json.Encoder(enc_hook=to_json)
#: The JSON of a value, as bytes.
encode = _encoder.encode


def builtins_of(value: Any) -> Any:
    """A value as its JSON is read elsewhere."""
    kind: type[object] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if value is None or kind is str or kind is int or kind is bool:
        return value
    return msgspec.json.decode(encode(value))
