"""Watching: what changes in a tree, as a stream of settled batches."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import cache
from typing import Never, cast

from .. import _native
from .._effect.habits import no_argument
from .._effect.stream import own_stream
from .._native import Change, Stream
from .._tasks.batched import items
from .._tasks.pretended import tree, trees
from ..errors import ConfigError
from ..policy._given import shown
from ..policy._numbers import seconds
from ..telemetry import _logs
from ._blocks import StrPath

__all__ = ["watch"]

#: Seconds.
_LONGEST = 3600.0

_BATCH = "leave out what you do not want of each batch"

#: Arguments of watchfiles and watchdog, and what to write in their place.
_ARGUMENTS = {
    **dict.fromkeys(("watch_filter", "patterns", "ignore_patterns", "ignore_directories", "event_filter"), _BATCH),
    **dict.fromkeys(("debounce", "step"), "settle= is the quiet that ends a batch, in seconds"),
    **dict.fromkeys(("stop_event", "raise_interrupt"), "leaving the block ends the watch"),
    **dict.fromkeys(("timeout", "rust_timeout", "yield_on_timeout"), "Idle(seconds) limits the wait for a batch"),
    "recursive": "all below the root is watched",
    **dict.fromkeys(("force_polling", "poll_delay_ms"), "the kernel tells of changes, and there is no polling"),
    "ignore_permission_denied": "what may not be read is left out and logged",
    **dict.fromkeys(("path", "paths"), "the root comes first; of several, open a watch for each"),
    **dict.fromkeys(("event_handler", "callback"), "write `async with fs.watch(root) as batches:`"),
    "gitignore": "write ignore_files=True",
}

_log = _logs.logger("fs")


def watch(
    root: StrPath,
    *,
    settle: float = 0.05,
    ignore_files: bool = False,
    existing: bool = False,
    **other: Never,
) -> Stream[tuple[Change, ...]]:
    """The changes of the tree `root`, or of the file, in batches: `async with fs.watch("src") as changes:`.

    A batch comes when nothing has changed for `settle` seconds, or 20 times that after its first change. It has a path
    once: "made", "changed" or "removed" since the batch before; a file that is replaced has changed. A folder that
    moves is removed and made, with all that is in it. A link to a file changes with the file.

    It begins with the first pull. With `existing`, what is there already comes first, as made; `()` if that is nothing.
    `ignore_files` leaves out what .gitignore and its like name.

    A change of kind "overflow" says that others were lost at its path or below, or cannot be seen there: look at it
    again. A limit of the system that is reached is also logged, to "mountain_runtime.fs". Linux only.

    Raises OSError with errno and filename if the root cannot be watched, or if the folder that it was in is gone, too.
    """
    _native.needs("watch")
    if other:
        raise no_argument("fs.watch", other, _ARGUMENTS)
    if not isinstance(cast("object", root), (str, os.PathLike)):
        raise TypeError(f"fs.watch() takes a path as a str or os.PathLike, not {type(root).__name__}")
    settle = seconds(settle, "fs.watch", "settle")
    if settle > _LONGEST:
        raise ConfigError(f"fs.watch(settle={shown(settle)}): must be an hour at most")
    return _function()(root, settle, ignore_files, existing)


async def _changes(
    root: StrPath, settle: float, ignore_files: bool, existing: bool
) -> AsyncIterator[tuple[Change, ...]]:
    pretended = trees.get(tree(root)) if trees else None
    real = _native.fs_watch(root, settle, ignore_files, existing)
    async with aclosing(items(real, _log, "watch") if pretended is None else pretended(existing)) as batches:
        async for batch in batches:
            yield batch


@cache
def _function() -> Callable[[StrPath, float, bool, bool], Stream[tuple[Change, ...]]]:
    """Made as it is first used: statistics list a name from then on."""
    return own_stream(_changes, "fs.watch")
