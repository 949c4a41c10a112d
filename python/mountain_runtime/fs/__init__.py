"""Files, without blocking the loop: each call is an effect that runs wholly on native workers.

Failures raise the builtin errors (FileNotFoundError and its kin) with errno and filename. A write is atomic: a
reader sees the old file or the new one, whole, and a cancelled write leaves nothing behind; with `durable` it is on the
disk when it returns. A file that cannot be replaced (a mount, a folder that may not be written) is written in place,
which is not atomic.
"""

from .._native import Change, Entry
from ._calls import (
    append,
    copy,
    glob,
    hash,  # noqa: A004
    lock,
    mkdir,
    move,
    open,  # noqa: A004
    read_bytes,
    read_many,
    read_text,
    remove,
    stat,
    temporary,
    walk,
    write_bytes,
    write_text,
)
from ._file import File
from ._rooted import Rooted, rooted
from ._watch import watch

__all__ = [
    "Change",
    "Entry",
    "File",
    "Rooted",
    "append",
    "copy",
    "glob",
    "hash",
    "lock",
    "mkdir",
    "move",
    "open",
    "read_bytes",
    "read_many",
    "read_text",
    "remove",
    "rooted",
    "stat",
    "temporary",
    "walk",
    "watch",
    "write_bytes",
    "write_text",
]
