"""The version of a function's code: a number made of the source of its module, when its decorator runs.

That is when the module is imported, so it is the source of the code that runs here, whatever is written to the file
later. A module without a source has no version: 0, which is as good as any other.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

__all__ = ["differ", "version"]

#: By file: the time of its last change, its size, and the version of that.
_known: dict[str, tuple[int, int, int]] = {}


def version(fn: Callable[..., Any]) -> int:
    """The version of the code of `fn`: 8 bytes."""
    of: dict[str, Any] = getattr(fn, "__globals__", {})
    file = of.get("__file__")
    if not isinstance(file, str) or not file.endswith(".py"):
        return 0
    try:
        at = os.stat(file)  # noqa: PTH116 - the cheapest way, at each decorator
    except OSError:
        return _packed(of.get("__loader__"), file)
    known = _known.get(file)
    if known is None or known[:2] != (at.st_mtime_ns, at.st_size):
        try:
            with open(file, "rb") as source:  # noqa: PTH123 - the same
                known = _known[file] = at.st_mtime_ns, at.st_size, _hashed(source.read())
        except OSError:
            return 0
    return known[2]


def _packed(loader: Any, file: str) -> int:
    """Of a module within an archive."""
    try:
        return _hashed(loader.get_data(file))
    except Exception:  # its loader has no sources, or is none
        return 0


def _hashed(source: bytes) -> int:
    return int.from_bytes(blake2b(source, digest_size=8).digest(), "little") or 1


def differ(one: int, other: int) -> bool:
    """Whether two versions are known to be of different code."""
    return one != other and bool(one) and bool(other)
