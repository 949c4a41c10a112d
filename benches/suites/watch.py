"""Watching: 10,000 changes of a tree, told by a stream that is in place, beside watchfiles.

The files are in memory where the system has such a folder, so that what is compared is not the disk.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from time import perf_counter

from benches.harness import OURS, Contest, Measure, Round, Sample, Scale, optional
from mountain_runtime import fs

CASES: Mapping[str, tuple[str, ...]] = {"changes": ("watchfiles",)}

#: A folder in memory.
MEMORY = "/dev/shm"
FOLDERS = 100


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """One case, over files that are made for it and removed afterwards."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as root:
        paths = _make(root, scale.pick(full=10_000, quick=10_000, tiny=200))
        turns: dict[str, Round] = {OURS: lambda: _told(_ours(root), paths)}
        if optional("watchfiles"):
            turns["watchfiles"] = lambda: _told(_watchfiles(root), paths)
        rounds = scale.pick(full=11, quick=5, tiny=1)
        yield Contest(rounds, turns, frozenset(paths), (Measure("changes", "ms"),))


def _make(root: str, count: int) -> list[str]:
    for number in range(FOLDERS):
        os.mkdir(f"{root}/{number}")
    paths = [f"{root}/{number % FOLDERS}/{number}" for number in range(count)]
    _write(paths)
    return paths


def _write(paths: list[str]) -> None:
    for path in paths:
        with open(path, "ab", buffering=0) as file:
            file.write(b"x")


async def _ours(root: str) -> AsyncGenerator[list[str], None]:
    """By default it settles after 50 ms of quiet."""
    async with fs.watch(root, existing=True) as batches:
        existing = FOLDERS + sum(len(os.listdir(f"{root}/{number}")) for number in range(FOLDERS))
        while existing > 0:
            existing -= len(await anext(batches))
        yield []  # it is in place
        async for batch in batches:
            yield [change.path for change in batch if change.kind == "changed"]


async def _watchfiles(root: str) -> AsyncGenerator[list[str], None]:
    """By default it settles after 50 ms of quiet, too. Its empty sets are yielded when so long has passed."""
    from watchfiles import Change, awatch

    async with aclosing(_typed(awatch(root, watch_filter=None, yield_on_timeout=True, rust_timeout=100))) as batches:
        await anext(batches)
        yield []
        async for batch in batches:
            yield [path for kind, path in batch if kind is Change.modified]


async def _typed(batches: AsyncIterator[set[tuple[object, str]]]) -> AsyncGenerator[set[tuple[object, str]], None]:
    async for batch in batches:
        yield batch


async def _told(changes: AsyncGenerator[list[str], None], paths: list[str]) -> Sample:
    """From the first write until the last change is told. One that is lost would be waited for without end."""
    told: set[str] = set()
    async with aclosing(changes), asyncio.timeout(60):
        await anext(changes)
        start = perf_counter()
        writing = asyncio.ensure_future(asyncio.to_thread(_write, paths))
        while len(told) < len(paths):
            told.update(await anext(changes))
        took = perf_counter() - start
        await writing
    return Sample((took * 1e3,), frozenset(told))
