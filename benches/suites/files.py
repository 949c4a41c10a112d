"""Files: read and hashed, 64 at a time, beside the plain loop and the libraries that put file calls on threads; a large
one copied, and a tree walked.

`run_in_executor` has a thread a core, the best that an executor can do here; the other peers use their defaults. All is
in the page cache: what is compared is the way to a file, not the disk.
"""

import asyncio
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

from benches.harness import OURS, OURS_TOO, Contest, Extra, Measure, Round, Sample, Samples, Scale, figures, optional
from benches.workloads import side_by_side
from mountain_runtime import fs

PEERS = ("sync-loop", "to_thread", "run_in_executor", "aiofiles", "anyio")
CASES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("small-read", "large-read", "small-hash", "sha256"), PEERS),
    "copy": ("shutil",),
    "walk-stat": ("os.scandir",),
}

AT_A_TIME = 64
READ_MANY = OURS_TOO + "read_many"

Call = Callable[[str], Awaitable[bytes]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """The cases, over files that are made for them and removed afterwards."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as executor:
        small = _make(folder, "small", scale.pick(full=5000, quick=5000, tiny=100), 4 << 10)
        large = _make(folder, "large", scale.pick(full=50, quick=50, tiny=2), 4 << 20)
        os.sync()  # or the kernel writes them to the disk while they are read
        rounds = scale.pick(full=11, quick=3, tiny=1)
        yield _small_reads(small, executor, rounds)
        turns = _turns(fs.read_bytes, _read, executor, large, _ends)
        yield Contest(rounds, turns, [_ends(_read(path)) for path in large], (Measure("large-read", "ms"),))
        for case, files in (("small-hash", small), ("sha256", large)):
            turns = _turns(partial(fs.hash, algorithm="sha256"), _sha256, executor, files, bytes, then=_digest)
            yield Contest(rounds, turns, [_sha256(path) for path in files], (Measure(case, "ms"),))
    with tempfile.TemporaryDirectory() as folder:
        yield _copies(folder, scale.pick(full=1024, quick=256, tiny=2) << 20, scale.pick(full=5, quick=3, tiny=1))
    with tempfile.TemporaryDirectory() as folder:
        yield _walks(folder, scale.pick(full=100_000, quick=100_000, tiny=300), rounds)


def _copies(folder: str, size: int, rounds: int) -> Contest:
    """One file, copied in the page cache: neither side waits for the disk."""
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    piece = random.Random("copy").randbytes(1 << 20)
    with open(source, "wb") as file:
        file.writelines(piece for _ in range(size >> 20))
    os.sync()

    async def turn(copy: Callable[[], Awaitable[object]]) -> Sample:
        start = perf_counter()
        await copy()
        took = perf_counter() - start
        answer = _outline(target)
        os.remove(target)
        return Sample((took * 1e3,), answer)

    turns: dict[str, Round] = {
        OURS: partial(turn, lambda: fs.copy(source, target, durable=False)),
        "shutil": partial(turn, lambda: asyncio.to_thread(shutil.copy, source, target)),
    }
    return Contest(rounds, turns, _outline(source), (Measure("copy", "ms"),))


def _outline(path: str) -> tuple[int, list[bytes]]:
    """The size, and a piece of each megabyte."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return size, [os.pread(file.fileno(), 64, at) for at in range(0, size, 1 << 20)]


def _walks(folder: str, count: int, rounds: int) -> Contest:
    """A tree of small files, a hundred a folder: how many entries it has, and the size of all files."""
    for number in range(count):
        if number % 100 == 0:
            below = os.path.join(folder, str(number // 10_000), str(number // 100))
            os.makedirs(below)
        with open(os.path.join(below, str(number)), "wb") as file:
            file.write(b"x" * (number % 7))
    os.sync()

    async def ours() -> Sample:
        start = perf_counter()
        entries = size = 0
        async for entry in fs.walk(folder):
            entries += 1
            if entry.is_file:
                size += entry.size
        return Sample(((perf_counter() - start) * 1e3,), (entries, size))

    async def scandir() -> Sample:
        start = perf_counter()
        answer = _scanned(folder)
        return Sample(((perf_counter() - start) * 1e3,), answer)

    return Contest(rounds, {OURS: ours, "os.scandir": scandir}, _scanned(folder), (Measure("walk-stat", "ms"),))


def _scanned(folder: str) -> tuple[int, int]:
    entries = size = 0
    left = [folder]
    while left:
        with os.scandir(left.pop()) as found:
            for entry in found:
                entries += 1
                about = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    size += about.st_size
    return entries, size


def _make(folder: str, name: str, count: int, size: int) -> list[str]:
    """Files of known bytes, each of them other bytes."""
    source = random.Random(name)
    paths = [os.path.join(folder, f"{name}{number}") for number in range(count)]
    for path in paths:
        Path(path).write_bytes(source.randbytes(size))
    return paths


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha256(path: str) -> bytes:
    return _digest(_read(path))


def _ends(data: bytes) -> tuple[int, bytes, bytes]:
    """Enough of a large file to see that it was read to its end, without holding all of them at once."""
    return len(data), data[:16], data[-16:]


def _small_reads(paths: Sequence[str], executor: Executor, rounds: int) -> Contest:
    """Every byte is checked. Ours once more by `read_many`, which has one wake-up for all files."""

    async def read_many() -> Sample:
        start = perf_counter()
        answer: Sequence[object] = await fs.read_many(paths)
        return Sample(((perf_counter() - start) * 1e3,), answer)

    turns = _turns(fs.read_bytes, _read, executor, paths, bytes) | {READ_MANY: read_many}
    extra = Extra("small-read", "sync-loop, ours by read_many", "ms", _of(READ_MANY), _of("sync-loop"), ("sync-loop",))
    return Contest(rounds, turns, [_read(path) for path in paths], (Measure("small-read", "ms"),), (extra,))


def _of(name: str) -> Callable[[Samples], list[float]]:
    return lambda samples: figures(samples[name])


def _turns(
    ours: Call,
    sync: Callable[[str], bytes],
    executor: Executor,
    paths: Sequence[str],
    keep: Callable[[bytes], object],
    then: Callable[[bytes], bytes] = bytes,
) -> dict[str, Round]:
    """All contestants over `paths`: `sync` is the work as a blocking function, `then` what follows an async read."""
    loop = asyncio.get_running_loop()

    async def with_aiofiles(path: str) -> bytes:
        async with aiofiles.open(path, "rb") as file:
            return then(await file.read())

    async def with_anyio(path: str) -> bytes:
        return then(await anyio.Path(path).read_bytes())

    async def sync_loop() -> Sample:
        start = perf_counter()
        answer = [keep(sync(path)) for path in paths]
        return Sample(((perf_counter() - start) * 1e3,), answer)

    calls: dict[str, Call] = {OURS: ours}
    calls["to_thread"] = lambda path: asyncio.to_thread(sync, path)
    calls["run_in_executor"] = lambda path: loop.run_in_executor(executor, sync, path)
    if aiofiles := optional("aiofiles"):
        calls["aiofiles"] = with_aiofiles
    if anyio := optional("anyio"):
        calls["anyio"] = with_anyio
    turns: dict[str, Round] = {"sync-loop": sync_loop}
    turns.update((name, partial(_pooled, call, paths, keep)) for name, call in calls.items())
    return turns


async def _pooled(call: Call, paths: Sequence[str], keep: Callable[[bytes], object]) -> Sample:
    """Milliseconds for all paths, 64 at a time, and what came back, in the order of the paths."""
    answer: list[object] = [None] * len(paths)
    left = enumerate(paths)

    async def worker() -> None:
        for place, path in left:
            answer[place] = keep(await call(path))

    seconds, _ = await side_by_side(worker, AT_A_TIME)
    return Sample((seconds * 1e3,), answer)
