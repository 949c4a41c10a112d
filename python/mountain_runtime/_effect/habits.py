"""Errors for names that another library has in the place of one of ours; each says what to write here."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, NoReturn

__all__ = ["Habits", "no_argument", "no_module_name"]


def no_module_name(module: str, name: str, ways: Mapping[str, str]) -> AttributeError:
    """The error of a name that the module has not."""
    return AttributeError(f"module {module!r} has no attribute {name!r}{_way(name, ways)}", name=name)


def no_argument(call: str, given: Iterable[str], ways: Mapping[str, str]) -> TypeError:
    """The error of arguments that the call has not; of the first of them."""
    name = next(iter(given))
    return TypeError(f"{call}() got an unexpected keyword argument {name!r}{_way(name, ways)}")


class Habits:
    """An object that says so where another library's method is meant."""

    __slots__ = ()

    _ways: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # type checkers say by themselves that there is no such attribute

        def __getattr__(self, name: str) -> NoReturn:
            kind = type(self)
            said = f"{kind.__name__!r} object has no attribute {name!r}{_way(name, kind._ways)}"
            raise AttributeError(said, name=name, obj=self)


def _way(name: str, ways: Mapping[str, str]) -> str:
    return f": {ways[name]}" if name in ways else ""
