"""The slots of abandoned generators, which no code can leave any more."""

import gc
from collections import deque
from types import AsyncGeneratorType, BuiltinMethodType, CoroutineType, MethodType, MethodWrapperType

from .._native import Slot

__all__ = ["disown"]

#: The kinds of objects, besides context managers, in which a generator may keep its open blocks.
_FOLLOWED: frozenset[type] = frozenset(
    (AsyncGeneratorType, CoroutineType, MethodType, BuiltinMethodType, MethodWrapperType, tuple, list, dict, deque)
)
#: The number of objects that are looked at, at most.
_MOST = 10_000


def disown() -> None:
    """Gives up each slot that an abandoned generator still holds: one that was collected and waits to be closed."""
    todo: list[object] = [o for o in gc.get_objects() if type(o) is AsyncGeneratorType and gc.is_finalized(o)]
    seen: dict[int, object] = {}
    while todo and len(seen) < _MOST:
        found = todo.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found
        if type(found) is Slot:
            found.disown()
        elif type(found) in _FOLLOWED or hasattr(type(found), "__aexit__"):
            todo.extend(gc.get_referents(found))
