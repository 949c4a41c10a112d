"""The setting `on=`: a class of errors or several."""

from typing import Any, cast

from ..errors import ConfigError
from ._given import coroutine

__all__ = ["are_classes", "as_tuple", "check_classes", "is_error", "named", "wrong"]


def are_classes(on: object) -> bool:
    """Whether it is a subclass of Exception, or a tuple of such."""
    classes: tuple[object, ...] = cast("tuple[object, ...]", on) if isinstance(on, tuple) else (on,)
    return bool(classes) and all(is_error(each) for each in classes)


def is_error(given: object) -> bool:
    """Whether it is a subclass of Exception."""
    return isinstance(given, type) and issubclass(given, Exception)


def as_tuple(on: object) -> tuple[type[Exception], ...]:
    """Classes, as a tuple of them."""
    return cast("tuple[type[Exception], ...]", on if isinstance(on, tuple) else (on,))


def check_classes(on: object, owner: str) -> None:
    """A ConfigError if it is anything else."""
    if not are_classes(on):
        raise wrong(on, owner, "must be a subclass of Exception, or a tuple of such")


def wrong(on: Any, owner: str, must: str) -> ConfigError:
    """The error of `on=`, with what to write where that can be told."""
    if (name := coroutine(on)) is not None:
        return ConfigError(f"{owner}(on={name}()): {must}, not a coroutine: write on={name}")
    way = ""
    if isinstance(on, (list, set, frozenset)) and are_classes(classes := tuple(cast("list[object]", on))):
        way = f": write on={named(classes[0] if len(classes) == 1 else classes)}"
    elif isinstance(on, Exception):
        way = f": write its class, on={named(type(on))}"
    elif isinstance(on, str):
        way = ": write the class, not its name"
    return ConfigError(f"{owner}(on={named(cast('object', on))}): {must}{way}")


def named(on: object) -> str:
    """As it is written."""
    if isinstance(on, tuple):
        names = [named(each) for each in cast("tuple[object, ...]", on)]
        return f"({', '.join(names)}{',' * (len(names) == 1)})"
    if isinstance(on, list):
        return f"[{', '.join(named(each) for each in cast('list[object]', on))}]"
    return str(getattr(on, "__qualname__", repr(on))).rpartition("<locals>.")[2]
