"""How the errors that a policy goes by are named: `on=`, a class or several."""

from typing import cast

from ..errors import ConfigError

__all__ = ["are_classes", "as_tuple", "check_classes", "named"]


def are_classes(on: object) -> bool:
    """Whether it is a subclass of Exception, or a tuple of such."""
    classes: tuple[object, ...] = cast("tuple[object, ...]", on) if isinstance(on, tuple) else (on,)
    return bool(classes) and all(isinstance(each, type) and issubclass(each, Exception) for each in classes)


def as_tuple(on: object) -> tuple[type[Exception], ...]:
    """Classes, as a tuple of them."""
    return cast("tuple[type[Exception], ...]", on if isinstance(on, tuple) else (on,))


def check_classes(on: object, owner: str) -> None:
    """A ConfigError if it is anything else."""
    if not are_classes(on):
        raise ConfigError(f"{owner}(on={named(on)}): must be a subclass of Exception, or a tuple of such")


def named(on: object) -> str:
    """As it is written."""
    if isinstance(on, tuple):
        names = [named(each) for each in cast("tuple[object, ...]", on)]
        return f"({', '.join(names)}{',' * (len(names) == 1)})"
    return str(getattr(on, "__qualname__", repr(on))).rpartition("<locals>.")[2]
