"""Trees that a test speaks for, in place of the system."""

import os
from collections.abc import AsyncGenerator, Callable
from typing import Any

__all__ = ["tree", "trees"]

#: Batches of changes, by the absolute path of a tree; called with whether what exists is told first.
trees: dict[str, Callable[[bool], AsyncGenerator[tuple[Any, ...], None]]] = {}


def tree(root: str | os.PathLike[str]) -> str:
    """The key of a root: links are not followed, and it need not exist."""
    return os.path.abspath(root)  # noqa: PTH100 - it is the same name that counts, not the same file
