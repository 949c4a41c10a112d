"""Dataclasses with all their attributes: msgspec leaves a default to the class, and then does not write it either."""

import dataclasses
from collections.abc import Iterable
from typing import Any, cast

import msgspec

__all__ = ["fill", "has_defaults"]


def has_defaults(types: Iterable[msgspec.inspect.Type]) -> bool:
    """Whether a value of one of these may lack an attribute; the types are all that stand anywhere in them."""
    return any(
        isinstance(each, msgspec.inspect.DataclassType) and any(not field.required for field in each.fields)
        for each in types
    )


def fill(value: Any) -> None:
    """Sets what is missing, wherever it stands in a value that was just made."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            own = getattr(value, "__dict__", None)
            if own is not None and field.name not in own and field.default is not dataclasses.MISSING:
                object.__setattr__(value, field.name, field.default)  # frozen ones, too
            fill(getattr(value, field.name, None))
    elif isinstance(value, dict):
        for each in value.values():  # pyright: ignore[reportUnknownVariableType]
            fill(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in cast("Iterable[Any]", value):
            fill(each)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            fill(getattr(value, name))
