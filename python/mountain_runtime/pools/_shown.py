"""The workers of all pools as the live page shows them, read while a page is open."""

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["Row", "note", "workers"]

#: Workers of a pool that are listed, and functions at work in one that are named.
_MOST, _NAMED = 20, 3

#: A worker: its name, the functions that are at work, calls that it has been given, and bytes of memory.
Row = tuple[str, list[str], int, int]

_engines: "WeakSet[Engine]" = WeakSet()


def note(engine: "Engine") -> None:
    """An engine begins. One that is gone is forgotten."""
    _engines.add(engine)


def workers() -> dict[str, Any]:
    """By pool: the workers that have most at work, and how many others there are."""
    shown: dict[str, Any] = {}
    for engine in list(_engines):
        rows = sorted(engine.rows(), key=lambda row: -len(row[1]))
        pool = shown.setdefault(engine.name, {"keys": [], "others": 0})
        pool["keys"] += [_shown(row) for row in rows[: max(_MOST - len(pool["keys"]), 0)]]
        pool["others"] += max(len(rows) - _MOST, 0)
    return shown


def _shown(row: Row) -> dict[str, Any]:
    name, at_work, calls, memory = row
    more = f" and {len(at_work) - _NAMED} more" if len(at_work) > _NAMED else ""
    return {"key": name, "at_work": ", ".join(at_work[:_NAMED]) + more, "calls": calls, "memory": memory}
