"""Trees, searches and programs that a test speaks for, in place of the system."""

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .._native import Completed

__all__ = ["Programs", "programs", "searches", "tree", "trees"]


class Programs(Protocol):
    """A block of `testing.process`: it plays programs that are run to their end, or talked to."""

    async def run(
        self, argv: tuple[Any, ...], data: bytes, cwd: Any, env: Mapping[str, str] | None, /
    ) -> "Completed": ...
    async def open(
        self,
        argv: tuple[Any, ...],
        cwd: Any,
        env: Mapping[str, str] | None,
        terminal: tuple[int, int] | None,
        /,
        *,
        stderr: bool,
    ) -> Any: ...


#: Batches of changes, by the absolute path of a tree; called with whether what exists is told first.
trees: dict[str, Callable[[bool], AsyncGenerator[tuple[Any, ...], None]]] = {}

#: The blocks of `testing.process`, the innermost last.
programs: list[Programs] = []

#: Functions that answer `search.lines`, the innermost last; called with its pattern, root and options.
searches: list[Callable[[str, Any, Mapping[str, Any]], AsyncGenerator[Any, None]]] = []


def tree(root: str | os.PathLike[str]) -> str:
    """The key of a root: links are not followed, and it need not exist."""
    return os.path.abspath(root)  # noqa: PTH100 - it is the same name that counts, not the same file
