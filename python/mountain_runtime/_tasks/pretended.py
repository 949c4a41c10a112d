"""Trees and programs that a test speaks for, in place of the system."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._native import Completed

__all__ = ["programs", "tree", "trees"]

#: Batches of changes, by the absolute path of a tree; called with whether what exists is told first.
trees: dict[str, Callable[[bool], AsyncGenerator[tuple[Any, ...], None]]] = {}

#: Functions that answer `process.run`, the innermost last; called with its argv, input, cwd and env.
programs: list[Callable[[tuple[Any, ...], bytes, Any, Any], "Awaitable[Completed]"]] = []


def tree(root: str | os.PathLike[str]) -> str:
    """The key of a root: links are not followed, and it need not exist."""
    return os.path.abspath(root)  # noqa: PTH100 - it is the same name that counts, not the same file
