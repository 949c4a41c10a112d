"""Files, without blocking the loop: each call is an effect that runs wholly on native workers.

Failures raise the builtin errors (FileNotFoundError and its kin) with errno and filename. A write is atomic: a
reader sees the old file or the new one, whole, and a cancelled write leaves nothing behind; with `durable` it is on the
disk when it returns. A file that cannot be replaced (a mount, a folder that may not be written) is written in place,
which is not atomic.
"""

from typing import TYPE_CHECKING, NoReturn

from .._effect.habits import no_module_name
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

if not TYPE_CHECKING:  # type checkers say by themselves that there is no such name
    _FOLDER = "write `async for entry in fs.walk(root)`, or fs.glob('*', root) for one folder alone"
    _EXISTS = "write `await fs.stat(path).attempt(FileNotFoundError)`, an Ok or an Err; the Ok's Entry has the kind"
    _TEMPORARY = "write `async with fs.temporary() as path:`"

    #: Names of os, shutil, pathlib, aiofiles, tempfile and watchfiles, and what to write in their place.
    _WAYS = {
        **dict.fromkeys(("listdir", "scandir", "iterdir"), _FOLDER),
        **dict.fromkeys(("exists", "is_file", "is_dir", "isfile", "isdir"), _EXISTS),
        **dict.fromkeys(("unlink", "rmdir"), "write fs.remove(path)"),
        "rmtree": "write fs.remove(path, tree=True)",
        "makedirs": "write fs.mkdir(path, parents=True)",
        **dict.fromkeys(("rename", "replace"), "write fs.move(source, target)"),
        **dict.fromkeys(("copyfile", "copy2"), "write fs.copy(source, target)"),
        **dict.fromkeys(("awatch", "Observer"), "write `async with fs.watch(root) as batches:`"),
        **dict.fromkeys(("TemporaryDirectory", "NamedTemporaryFile", "mkdtemp"), _TEMPORARY),
    }

    def __getattr__(name: str) -> NoReturn:
        raise no_module_name("mountain_runtime.fs", name, _WAYS)
