"""Searches of a source tree, the standard library of this Python, beside `rg` as a child and `re` over threads."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from benches.harness import OURS, Contest, Measure, Round, Sample, Scale
from mountain_runtime import search

CASES: Mapping[str, tuple[str, ...]] = {"regex": ("rg", "re")}

#: Assignments to names that end so. It means the same to all three: no letter beyond ASCII matters.
PATTERN = r"\w+_(size|count|limit)\s*="
#: The packages that are installed there differ from one machine to the next.
APART = "site-packages"

#: Path, number and text of each line, sorted.
Lines = list[tuple[str, int, bytes]]


async def contests(scale: Scale, loop: str) -> AsyncGenerator[Contest, None]:
    """One case, over the files of Python's own tree."""
    root = Path(os.__file__).parent
    if scale is Scale.TINY:
        root /= "asyncio"

    async def ours() -> Sample:
        start = perf_counter()
        async with search.lines(PATTERN, root, case="sensitive", include=["*.py"], exclude=[APART]) as matches:
            found = [(match.path, match.line, match.text) async for match in matches]
        took = perf_counter() - start
        return Sample((took * 1e3,), sorted((path, line, os.fsencode(text)) for path, line, text in found))

    async def with_re() -> Sample:
        start = perf_counter()
        found = await asyncio.to_thread(_with_re, root)
        took = perf_counter() - start
        return Sample((took * 1e3,), sorted(found))

    turns: dict[str, Round] = {OURS: ours, "re": with_re}
    if shutil.which("rg"):
        turns["rg"] = lambda: _with_rg(root)
    else:
        print("skipped: rg is not there; install ripgrep to compare with it", flush=True)
    yield Contest(scale.pick(full=11, quick=3, tiny=1), turns, sorted(_with_re(root)), (Measure("regex", "ms"),))


async def _with_rg(root: Path) -> Sample:
    """Its output is taken apart afterwards, and not timed."""
    flags = ["--no-config", "--no-heading", "--line-number", "--null", "--case-sensitive"]
    argv = ["rg", *flags, "--glob=*.py", f"--glob=!{APART}", "--regexp", PATTERN, str(root)]
    start = perf_counter()
    child = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    printed, _ = await child.communicate()
    took = perf_counter() - start
    found: Lines = []
    for line in printed.splitlines():
        path, _, rest = line.partition(b"\0")
        number, _, text = rest.partition(b":")
        found.append((os.fsdecode(path), int(number), text))
    return Sample((took * 1e3,), sorted(found))


def _with_re(root: Path) -> Lines:
    """A thread a core, a file at a time, read whole: the fastest way with `re`."""
    pattern = re.compile(PATTERN.encode())

    def one(path: str) -> Lines:
        with open(path, "rb") as file:
            data = file.read()
        if b"\0" in data:
            return []  # as ripgrep does with what may be no text
        found: Lines = []
        number, at, end = 1, 0, -1
        for match in pattern.finditer(data):
            if match.start() < end:
                continue  # another one in the same line
            start = data.rfind(b"\n", 0, match.start()) + 1
            end = data.find(b"\n", match.start())
            end = len(data) if end < 0 else end
            number += data.count(b"\n", at, start)
            at = start
            found.append((path, number, data[start:end]))
        return found

    with ThreadPoolExecutor(os.cpu_count()) as executor:
        return [line for lines in executor.map(one, _files(root)) for line in lines]


def _files(root: Path) -> list[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != APART and not name.startswith(".")]
        found += [os.path.join(folder, name) for name in files if name.endswith(".py") and not name.startswith(".")]
    return found
