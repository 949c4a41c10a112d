"""A tree of files for a test."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import NoneType, TracebackType
from typing import cast

from ..errors import ConfigError
from ..policy._given import shown

__all__ = ["files"]


def files(tree: Mapping[str, str | bytes | None]) -> AbstractContextManager[Path]:
    """A folder with these files, by their paths in it; the block's end removes it with all that is in it then.

    Text is in UTF-8; None makes a folder. For what `fs` and `search` are to work on: native calls hold up the time of
    the fixture `virtual_clock`, and `chaos` makes them fail or hang. Raises ConfigError for a path that leads out.
    """
    if not isinstance(cast("object", tree), Mapping):
        raise TypeError(f"files() takes a mapping of paths to contents, not {shown(tree)}")
    for name, content in tree.items():
        if not isinstance(cast("object", content), (str, bytes, NoneType)):
            raise TypeError(f"files({{{name!r}: ...}}): takes a str, bytes, or None for a folder, not {shown(content)}")
        way = Path(os.path.normpath(name))
        if way.is_absolute() or way.parts[:1] in {(), (os.pardir,)}:
            raise ConfigError(f"files({{{name!r}: ...}}): must be a path below the folder")
    return _Files(tree)


class _Files(AbstractContextManager[Path]):
    def __init__(self, tree: Mapping[str, str | bytes | None]) -> None:
        self._tree = tree
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="mountain-", ignore_cleanup_errors=True)
        root = Path(self._folder.name).resolve()
        for name, content in self._tree.items():
            path = root / name
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()
