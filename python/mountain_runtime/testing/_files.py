"""A tree of files for a test."""

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError

__all__ = ["files"]


@contextmanager
def files(tree: Mapping[str, str | bytes | None]) -> Generator[Path]:
    """A folder with these files, by their paths in it; the block's end removes it with all that is in it then.

    Text is in UTF-8; None makes a folder. For what `fs` and `search` are to work on: native calls hold up the time of
    the fixture `virtual_clock`, and `chaos` makes them fail or hang. Raises ConfigError for a path that leads out.
    """
    with tempfile.TemporaryDirectory(prefix="mountain-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for name, content in tree.items():
            path = root / name
            if not Path(os.path.normpath(path)).is_relative_to(root) or path == root:
                raise ConfigError(f"files({{{name!r}: ...}}): must be a path below the folder")
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield root
